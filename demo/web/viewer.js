// The viewer: vesalius.view(ids, {linked, labels, hide}) opens one or several pictures in a dialog.
// ids: of the store's pictures, or addresses that end in .png (see viewer_pixels.js for what their answers say).
// linked: zoom, window and measures of all are one. labels: what each is called. hide: nothing is said of a picture.
window.vesalius = window.vesalius || {};
vesalius.view = (ids, { linked = true, labels = [], hide = false, difference = false } = {}) => {
  const say = vesalius.viewerWords, drawing = vesalius.viewerDraw, pixels = vesalius.pixels;
  const fresh = () => ({ zoom: 1, x: 0.5, y: 0.5, units: null, greys: [127.5, 255], inverted: false, shapes: [] });
  const opener = document.activeElement;
  const state = { tool: "window", smooth: true, linked, differs: false, range: 1, active: 0, cross: null, pending: null };

  // ---------------------------------------------------------------------------------------------- the dialog
  const make = (tag, attributes = {}, ...inside) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
    element.append(...inside);
    return element;
  };
  const button = (key, does, attributes = {}) =>
    make("button", { type: "button", "data-does": key, onclick: does, ...attributes }, say(key));
  const group = (key, ...inside) => make("div", { role: "group", "aria-label": say(key), class: "viewer-group" }, ...inside);
  const slider = (key, least, most, does) => {
    const input = make("input", { type: "range", min: least, max: most, step: 1, "data-does": key, oninput: () => does(Number(input.value)) });
    const number = make("output", { class: "viewer-number" });
    return [make("label", { class: "viewer-slider" }, make("span", { "data-name": key }, say(key)), input, number), input, number];
  };

  const tools = ["window", "pan", "line", "ellipse"].map((key) => button(key, () => choose(key), { "aria-pressed": "false" }));
  const presets = Object.keys(pixels.WINDOWS).map((name) =>
    button(name, () => window_(pixels.WINDOWS[name]), { "aria-pressed": "false" }));
  const presetGroup = group("presets", ...presets);
  const [levelBox, level, levelText] = slider("level", -1000, 1500, (v) => window_([value_(v), current()[1]]));
  const [widthBox, width, widthText] = slider("width", 1, 3000, (v) => window_([current()[0], width_(v)]));
  const [rangeBox, range, rangeText] = slider("range", 1, 100, (v) => ((state.range = v), refresh()));
  const toggles = Object.fromEntries([
    ["invert", () => (view().inverted = !view().inverted)], ["smooth", () => (state.smooth = !state.smooth)],
    ["linked", () => link(!state.linked)], ["difference", () => differ(!state.differs)],
  ].map(([key, does]) => [key, button(key, () => (does(), refresh()), { "aria-pressed": "false" })]));
  const said = make("p", { role: "status", class: "viewer-said" }), measures = make("ul", { class: "viewer-measures" });
  const help = make("details", { class: "viewer-help" }, make("summary", {}, say("keys")), make("p", {}, say("help")));
  const several = ids.length > 1;
  const panes = ids.map((id, i) => pane_(id, i));
  const grid = make("div", { class: "viewer-panes" }, ...panes.map((pane) => pane.figure));
  const scale = make("div", { class: "viewer-scale", hidden: true });
  const dialog = make("dialog", { class: "viewer", "aria-labelledby": "viewer-title", onclose: closed, onkeydown: pressed },
    make("header", {}, make("h2", { id: "viewer-title" }, say("title")), button("close", () => dialog.close(), { class: "viewer-close" })),
    grid, scale,
    make("div", { class: "viewer-tools", role: "region", "aria-label": say("tools"), tabindex: "0" },
      group("drag", ...tools),
      group("zoom", ...[["out", "−"], ["in", "+"]].map(([key, sign]) => button(key, () => zoom(key === "in" ? 1.25 : 0.8), { "aria-label": say(key) })),
        button("fit", fit), button("actual", actual), button("reset", reset)),
      presetGroup, levelBox, widthBox,
      group("more", toggles.invert, toggles.smooth, ...(several ? [toggles.linked, toggles.difference] : []), button("clear", clear)),
      rangeBox, help, measures, said));
  dialog.querySelector("[data-does=in]").textContent = "+";
  dialog.querySelector("[data-does=out]").textContent = "−";

  function pane_(id, i) {
    const src = /\.png(\?|$)/.test(id) ? id : `/pictures/${encodeURIComponent(id)}.png`;
    const shown = document.querySelector(`[data-picture="${CSS.escape(id)}"] img`);
    const name = hide ? "" : labels[i] || "";
    const spoken = !hide && shown && shown.alt ? shown.alt : say("label");
    const canvas = make("canvas", { role: "img", "aria-label": [name, spoken].filter(Boolean).join(". ") });
    const stage = make("div", {
      class: "viewer-stage", tabindex: "0", role: "application", "aria-roledescription": say("title"),
      "aria-label": `${say("picture", { n: i + 1 })}${name && `: ${name}`}`, onfocus: () => ((state.active = i), refresh()),
    }, canvas);
    const reading = make("span", { class: "viewer-reading" }, say("loading"));
    const remark = make("span", { class: "viewer-remark" });
    const figure = make("figure", { class: "viewer-pane" }, stage,
      make("figcaption", {}, make("b", { class: "viewer-label" }, say("label")), name ? make("span", {}, name) : "", reading, remark));
    const pane = { src, name, stage, canvas, reading, remark, figure, view: null, picture: null, difference: null };
    listen(pane, i);
    return pane;
  }

  // ---------------------------------------------------------------------------------------------- what is done
  const active = () => panes[state.active];
  const view = () => active().view;
  const current = () => drawing.windowOf(active());
  const isGrey = () => !active().picture || active().picture.unit !== "HU";
  // Greys are told as brightness and contrast in percent, where a window is told in units.
  const value_ = (v) => (isGrey() ? 127.5 - (v / 100) * 127.5 : v), width_ = (v) => (isGrey() ? (255 * 100) / v : v);

  function window_([centre, wide]) {
    const limits = isGrey() ? [-127, 382, 12] : [-2000, 3500, 1];
    const fits = [Math.max(limits[0], Math.min(limits[1], centre)), Math.max(limits[2], Math.min(isGrey() ? 2550 : 5000, wide))];
    if (isGrey()) view().greys = fits;
    else view().units = fits;
    refresh();
  }
  function choose(tool) {
    Object.assign(state, { tool, pending: null });
    if (!state.cross) state.cross = { x: view().x, y: view().y };
    refresh();
  }
  function zoom(factor, fixed = null, pane = active()) {
    const its = pane.view, zoomed = Math.max(0.5, Math.min(40, its.zoom * factor)), share = its.zoom / zoomed;
    if (fixed) Object.assign(its, { x: fixed.x + (its.x - fixed.x) * share, y: fixed.y + (its.y - fixed.y) * share });
    its.zoom = zoomed;
    keepNear(its);
  }
  function move(dx, dy) {
    view().x += dx, (view().y += dy);
    keepNear(view());
  }
  function keepNear(its) {
    its.x = Math.max(0, Math.min(1, its.x)), (its.y = Math.max(0, Math.min(1, its.y)));
    refresh();
  }
  function fit() {
    Object.assign(view(), { zoom: 1, x: 0.5, y: 0.5 });
    refresh();
  }
  function actual() {
    zoom((window.devicePixelRatio || 1) / drawing.place(active()).scale);
  }
  function reset() {
    const same = new Set(panes.map((pane) => pane.view));
    for (const each of same) Object.assign(each, fresh(), { units: panes.find((p) => p.view === each && p.picture?.unit === "HU")?.picture.window ?? null });
    Object.assign(state, { pending: null, cross: null });
    refresh();
  }
  function clear() {
    Object.assign(state, { pending: null });
    view().shapes.length = 0;
    refresh();
  }
  function link(on) {
    state.linked = on;
    panes.forEach((pane) => (pane.view = on ? view() : structuredClone(pane.view)));
    for (const pane of panes) if (pane.picture?.unit === "HU" && !pane.view.units) pane.view.units = pane.picture.window;
  }
  function differ(on) {
    state.differs = on;
    const [first, ...others] = panes;
    for (const pane of others) pane.difference = on && pane.picture && first.picture ? pixels.differ(pane.picture, first.picture) : null;
    const found = others.map((pane) => pane.difference).filter(Boolean);
    const most = Math.max(1, ...found.map((d) => d.largest));
    range.max = pixels.rounded(most);
    state.range = Math.min(pixels.rounded(Math.max(1, ...found.map((d) => d.typical))), Number(range.max));
    range.value = state.range;
  }
  // A point of a measure: the first begins it, the second ends it.
  function point(at) {
    if (!state.pending) {
      state.pending = { kind: state.tool, a: at, b: at };
      tell(say("start"));
    } else {
      view().shapes.push({ ...state.pending, b: at });
      state.pending = null;
    }
    refresh();
  }

  // ---------------------------------------------------------------------------------------------- what is shown
  let waits = 0, told = 0;
  function refresh() {
    if (!waits) waits = requestAnimationFrame(paint);
  }
  function tell(text) {
    clearTimeout(told);
    told = setTimeout(() => (said.textContent = text), 150);
  }
  function paint() {
    waits = 0;
    if (!dialog.isConnected) return;
    const measuring = ["line", "ellipse"].includes(state.tool);
    panes.forEach((pane, i) => {
      const own = state.linked || i === state.active, pending = own ? state.pending : null;
      drawing.draw(pane, { range: state.range, smooth: state.smooth, cross: own && (measuring || state.linked && several) ? state.cross : null, pending });
      pane.stage.dataset.tool = state.tool;
      if (pane.picture) pane.reading.textContent = drawing.reading(pane, own ? state.cross : null);
      pane.remark.textContent = !state.differs ? "" : i === 0 ? say("first") : !pane.difference ? say("unlike")
        : pane.difference.largest ? say("largest", { value: `${Math.round(pane.difference.largest)} ${say(pane.difference.unit)}` }) : say("same");
    });
    tools.forEach((each) => each.setAttribute("aria-pressed", each.dataset.does === state.tool));
    const pressed_ = { invert: view()?.inverted, smooth: state.smooth, linked: state.linked, difference: state.differs };
    for (const [key, each] of Object.entries(toggles)) each.setAttribute("aria-pressed", !!pressed_[key]);
    if (active().picture) controls();
    scaled();
    // What is the same of all pictures is told once.
    const found = panes.flatMap((pane, i) => (!pane.picture ? [] : pane.view.shapes.map((shape, n) =>
      [drawing.told(pane, shape, n + 1), pane.name || say("picture", { n: i + 1 })])));
    const lines = [...new Set(found.map(([line]) => line))].map((line) => {
      const named = found.filter(([each]) => each === line).map(([, name]) => name);
      return named.length === panes.length ? line : `${named.join(", ")} · ${line}`;
    });
    measures.replaceChildren(...lines.map((line) => make("li", {}, line)));
  }
  function controls() {
    const grey = isGrey(), [centre, wide] = current();
    presetGroup.hidden = grey;
    tools[0].textContent = say(grey ? "contrast" : "window");
    presets.forEach((each) => each.setAttribute("aria-pressed", `${pixels.WINDOWS[each.dataset.does]}` === `${[centre, wide]}`));
    for (const [box, input, text, key, least, most, now, unit] of [
      [levelBox, level, levelText, grey ? "brightness" : "level", grey ? -100 : -1000, grey ? 100 : 1500, grey ? 100 - (centre / 127.5) * 100 : centre, grey ? "%" : "HU"],
      [widthBox, width, widthText, grey ? "contrast" : "width", grey ? 20 : 1, grey ? 1000 : 3000, grey ? (255 * 100) / wide : wide, grey ? "%" : "HU"],
    ]) {
      box.firstChild.textContent = say(key);
      Object.assign(input, { min: least, max: most });
      input.value = Math.round(now);
      text.textContent = `${Math.round(now)} ${unit}`;
    }
  }
  function scaled() {
    const found = panes.map((pane) => pane.difference).find(Boolean);
    rangeBox.hidden = scale.hidden = !found;
    if (!found) return;
    const unit = say(found.unit), colour = (each) => `rgb(${each})`;
    rangeText.textContent = `${state.range} ${unit}`;
    const bar = make("span", { class: "viewer-bar", role: "img", "aria-label": say("scale") });
    bar.style.background = `linear-gradient(to right, ${colour(pixels.COLD)}, #000, ${colour(pixels.WARM)})`;
    scale.replaceChildren(make("span", {}, `−${state.range} ${unit}`), bar, make("span", {}, `+${state.range} ${unit}`),
      make("span", { class: "viewer-legend" }, say("scale")));
  }
  // As many columns as make the pictures largest.
  function arrange(seen) {
    if (!seen.some((each) => each.target === grid)) return refresh();
    const { clientWidth, clientHeight } = grid, area = (n) => Math.min(clientWidth / n, clientHeight / Math.ceil(panes.length / n) - 40);
    const best = panes.map((_, i) => i + 1).reduce((a, b) => (area(b) > area(a) + 1 ? b : a), 1);
    grid.style.gridTemplateColumns = `repeat(${best}, minmax(0, 1fr))`;
    grid.style.gridTemplateRows = `repeat(${Math.ceil(panes.length / best)}, minmax(0, 1fr) auto)`;
    refresh();
  }

  // ---------------------------------------------------------------------------------------------- mouse, touch, keys
  function listen(pane, i) {
    const { stage } = pane, fingers = new Map();
    let from = null, apart = 0;
    const middle = () => [...fingers.values()].reduce((a, b) => ({ clientX: a.clientX + b.clientX / fingers.size, clientY: a.clientY + b.clientY / fingers.size }), { clientX: 0, clientY: 0 });
    const spread = () => { const [a, b] = fingers.values(); return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY); };
    const drag = (tool, event) => {
      const dx = event.clientX - from.clientX, dy = event.clientY - from.clientY, [centre, wide] = current();
      if (tool === "pan") {
        const size = drawing.place(pane).scale / (window.devicePixelRatio || 1);
        move(-dx / size / pane.picture.columns, -dy / size / pane.picture.rows);
      } else if (tool === "window") {
        if (isGrey()) window_([centre + dy, wide * 0.99 ** dx]); // to the right more contrast, up brighter
        else window_([centre + 3 * dy, wide + 6 * dx]); // to the right wider, down a higher level
      } else if (state.pending) {
        state.pending.b = drawing.under(pane, event);
      }
      from = { clientX: event.clientX, clientY: event.clientY };
    };
    stage.addEventListener("pointerdown", (event) => {
      if (!pane.picture) return;
      event.preventDefault();
      stage.setPointerCapture(event.pointerId);
      stage.focus();
      state.active = i;
      fingers.set(event.pointerId, event);
      from = fingers.size > 1 ? middle() : event;
      if (fingers.size === 2) (apart = spread()), (state.pending = null);
      state.cross = drawing.under(pane, event);
      const measuring = ["line", "ellipse"].includes(state.tool) && fingers.size === 1 && !event.shiftKey && event.button === 0;
      if (measuring) state.pending = { kind: state.tool, a: state.cross, b: state.cross };
      refresh();
    });
    stage.addEventListener("pointermove", (event) => {
      if (!pane.picture) return;
      state.cross = drawing.under(pane, event);
      if (fingers.has(event.pointerId)) {
        fingers.set(event.pointerId, event);
        if (fingers.size === 2) {
          zoom(spread() / apart, drawing.under(pane, middle()), pane);
          apart = spread();
          drag("pan", middle());
        } else if (fingers.size === 1) drag(event.shiftKey || event.buttons & 6 ? "pan" : state.tool, event);
      } else if (!state.linked) state.active = i;
      refresh();
    });
    const lifted = (event) => {
      if (!fingers.delete(event.pointerId)) return;
      const { pending } = state;
      if (pending && event.type === "pointerup" && Math.hypot(pending.b.x - pending.a.x, pending.b.y - pending.a.y) > 0) pane.view.shapes.push(pending);
      state.pending = null;
      if (fingers.size) from = middle();
      refresh();
    };
    for (const each of ["pointerup", "pointercancel"]) stage.addEventListener(each, lifted);
    stage.addEventListener("wheel", (event) => {
      if (!pane.picture) return;
      event.preventDefault();
      state.active = i;
      zoom(Math.exp(-Math.max(-100, Math.min(100, event.deltaY * (event.deltaMode ? 33 : 1))) / 400), drawing.under(pane, event), pane);
    }, { passive: false });
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  const KEYS = {
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: fit, f: fit, r: reset, w: () => choose("window"),
    p: () => choose("pan"), l: () => choose("line"), e: () => choose("ellipse"), Delete: clear, Backspace: clear,
    i: () => toggles.invert.click(), s: () => toggles.smooth.click(), d: () => several && toggles.difference.click(),
    "[": () => window_([current()[0], current()[1] / 1.1]), "]": () => window_([current()[0], current()[1] * 1.1]),
    PageUp: () => window_([current()[0] - current()[1] / 20, current()[1]]),
    PageDown: () => window_([current()[0] + current()[1] / 20, current()[1]]),
    ...Object.fromEntries(Object.values(pixels.WINDOWS).map((each, i) => [i + 1, () => !isGrey() && window_(each)])),
  };
  function pressed(event) {
    event.stopPropagation();
    if (event.key === "Tab") return wrap(event);
    const here = event.target, onStage = here.classList.contains("viewer-stage");
    if (event.ctrlKey || event.metaKey || event.altKey || here.tagName === "INPUT" || !active().picture) return;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const measuring = ["line", "ellipse"].includes(state.tool);
    if (arrow && onStage) measuring ? step(arrow, event.shiftKey ? 10 : 1) : look(arrow);
    else if (["Enter", " "].includes(event.key) && onStage && measuring) point({ ...(state.cross || view()) });
    else if (KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key]) KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key]();
    else return;
    event.preventDefault();
  }
  function step([dx, dy], far) {
    const { picture } = active(), from = state.cross || { x: view().x, y: view().y };
    state.cross = { x: from.x + (far * dx) / picture.columns, y: from.y + (far * dy) / picture.rows };
    if (state.pending) state.pending.b = state.cross;
    tell(drawing.reading(active(), state.cross));
    refresh();
  }
  function look([dx, dy]) {
    move((0.1 * dx) / view().zoom, (0.1 * dy) / view().zoom);
    state.cross = { x: view().x, y: view().y };
    tell(drawing.reading(active(), state.cross));
  }
  function wrap(event) {
    const reached = [...dialog.querySelectorAll("button, input, summary, [tabindex='0']")].filter((each) => each.checkVisibility());
    const end = event.shiftKey ? reached[0] : reached[reached.length - 1];
    if (document.activeElement !== end) return;
    event.preventDefault();
    (event.shiftKey ? reached[reached.length - 1] : reached[0]).focus();
  }
  function closed() {
    observer.disconnect();
    dialog.remove();
    if (opener && opener.isConnected) opener.focus();
  }

  // ---------------------------------------------------------------------------------------------- open
  const observer = new ResizeObserver(arrange), shared = fresh();
  panes.forEach((pane) => (pane.view = linked ? shared : fresh()));
  document.body.append(dialog);
  dialog.showModal();
  panes[0].stage.focus();
  for (const each of [grid, ...panes.map((pane) => pane.stage)]) observer.observe(each);
  return Promise.all(panes.map(async (pane) => {
    try {
      pane.picture = await pixels.load(pane.src);
      if (pane.picture.unit === "HU" && !pane.view.units) pane.view.units = pane.picture.window;
    } catch (error) {
      pane.reading.textContent = say("lost", { reason: error.message });
    }
    refresh();
  })).then(() => {
    if (difference && several) differ(true);
    refresh();
  });
};
