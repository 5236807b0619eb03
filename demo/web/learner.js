// The learners' page: one question at a time. Each answer is kept on this device until the server has it.
(() => {
  "use strict";
  const WORDS = {
    en: {
      label: "Synthetic: not for diagnosis", start: "Start",
      name: "Name or nickname (you may leave it empty)", hint: "An answer cannot be changed once it is sent.",
      place: "Question {at} of {num}", alt: "Picture {at} of {num}. Synthetic: not for diagnosis",
      answer: "Answer", next: "Next question", end: "See the result", larger: "Larger", smaller: "Smaller",
      whole: "Whole picture", normal: "Normal", abnormal: "Abnormal", several: "There may be more than one right answer.",
      point: "Tap the place in the picture. With the keyboard: focus the picture, move the mark with the arrow keys.",
      look: "Pinch, turn the wheel or press + to enlarge; drag or use the arrow keys to move.", text: "Your answer",
      right: "Right", wrong: "Not right", kept: "Your answer is kept.", open: "This question is not scored.",
      yours: "your answer", correct: "right answer", area: "The green circle shows the right place, the yellow mark yours.",
      score: "Your score", of: "{right} of {num}", thanks: "All questions are answered.",
      none: "Nothing was scored. Thank you for your answers.", missing: "Not answered",
      waiting: "No connection. Your answers are kept on this device and sent as soon as it is back: {num} to send.",
      later: "Right or wrong is shown as soon as this answer has arrived.",
      closed: "This quiz is closed; it takes no more answers.", lost: "Your answer to question {at} did not arrive before the quiz was closed.",
      full: "This quiz is full. Ask your teacher.", unknown: "There is no quiz at this address. Check the link with your teacher.",
      bad: "The server could not read this answer. Load the page again.", slow: "Many are answering at this moment; it goes on by itself.",
      broken: "The page could not be loaded. Check the connection; it is tried again by itself.",
      preview: "Preview: nothing is kept.", picture: "The picture cannot be shown. Load the page again.",
    },
    zh: {
      label: "合成图像：不可用于诊断", start: "开始", name: "姓名或昵称（可不填）",
      hint: "答案提交后不能更改。", place: "第 {at} 题，共 {num} 题",
      alt: "第 {at} 幅图像，共 {num} 幅。合成图像：不可用于诊断", answer: "提交答案", next: "下一题", end: "查看结果",
      larger: "放大", smaller: "缩小", whole: "完整图像", normal: "正常", abnormal: "异常", several: "可能有多个正确答案。",
      point: "请在图像上点出位置。使用键盘：聚焦图像后用方向键移动标记。", look: "双指缩放、滚轮或按 + 放大；拖动或用方向键移动。",
      text: "您的回答", right: "正确", wrong: "不正确", kept: "答案已保存。", open: "本题不计分。", yours: "您的答案",
      correct: "正确答案", area: "绿圈为正确位置，黄色标记为您的答案。", score: "您的得分", of: "{right} / {num}",
      thanks: "所有题目均已作答。", none: "没有计分题目。感谢您的回答。", missing: "未作答",
      waiting: "网络中断。答案已保存在本设备，恢复后自动发送：待发送 {num} 个。", later: "答案送达后即显示对错。",
      closed: "本测验已关闭，不再接受答案。", lost: "第 {at} 题的答案在测验关闭前未送达。", full: "本测验人数已满，请联系老师。",
      unknown: "此地址没有测验，请向老师核对链接。", bad: "服务器无法读取此答案，请重新加载页面。",
      slow: "当前答题人数较多，稍后自动继续。", broken: "页面无法加载。请检查网络，系统会自动重试。", preview: "预览：不保存任何内容。",
      picture: "图像无法显示，请重新加载页面。",
    },
  };
  const zh = /^zh/i.test(navigator.language || "");
  document.documentElement.lang = zh ? "zh" : "en";
  const say = (key, values = {}) =>
    WORDS[zh ? "zh" : "en"][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const base = location.pathname.replace(/\/$/, "");
  const isPreview = base.endsWith("/preview");
  const $ = (id) => document.getElementById(id);
  $("label").textContent = say("label");
  const main = $("main");

  function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child != null));
    return node;
  }

  // What outlives a reload. Where a browser forbids it, the quiz still works as long as the page stays.
  const shelf = `vesalius-quiz:${base}`;
  const random = () => btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(24)))).replace(/\+/g, "-").replace(/\//g, "_");
  let own = { sitting: random(), name: null, pending: {} };
  try {
    if (!isPreview) own = { ...own, ...JSON.parse(localStorage.getItem(shelf) || "{}") };
  } catch { /* the kept text is no JSON, or storage is off */ }
  function keep() {
    try { if (!isPreview) localStorage.setItem(shelf, JSON.stringify(own)); } catch { /* storage is full or off */ }
  }

  let quiz = null, place = 0, timer = null, wait = 1000, isSending = false;
  const remarks = {};
  const answered = (number) => number in quiz.answers || number in own.pending;
  const status = (text) => { if ($("status").textContent !== text) $("status").textContent = text; };

  // Server

  async function ask(method, path, body) {
    const stop = new AbortController(), clock = setTimeout(() => stop.abort(), 15000);
    try {
      const answer = await fetch(base + path, {
        method, signal: stop.signal, cache: "no-store",
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
      });
      if (answer.status >= 500) throw new Error("later");
      const told = await answer.json();
      if (!answer.ok && (!told.error || told.error === "slow")) throw new Error(told.error || "later");
      return told;
    } finally { clearTimeout(clock); }
  }

  async function send() {
    clearTimeout(timer);
    if (isSending || !quiz) return;
    isSending = true;
    try {
      for (let number; (number = Object.keys(own.pending)[0]) !== undefined; ) {
        const told = await ask("PUT", `/sittings/${own.sitting}/answers/${number}`, { said: own.pending[number] });
        wait = 1000;
        delete own.pending[number];
        if (told.error) remarks[number] = told.error;
        else quiz.answers[number] = told;
        if (told.error === "closed") quiz.is_open = false;
        keep();
        arrived(Number(number));
      }
      status("");
    } catch (error) {
      status(error.message === "slow" ? say("slow") : say("waiting", { num: Object.keys(own.pending).length }));
      timer = setTimeout(send, wait);
      wait = Math.min(2 * wait, 20000);
    }
    isSending = false;
    if (quiz.atEnd && (!Object.keys(own.pending).length || !main.querySelector(".review"))) end();
  }
  addEventListener("online", send);
  addEventListener("pagehide", keep);

  // Picture: its own zoom, and a mark on it

  function picture(at, number, { canPoint = false, told = null, said = null } = {}) {
    const NS = "http://www.w3.org/2000/svg";
    const image = el("img", { src: `${base}/picture/${number}`, alt: say("alt", { at, num: quiz.questions.length }), draggable: "false" });
    const over = document.createElementNS(NS, "svg");
    over.setAttribute("aria-hidden", "true");
    const layer = el("div", { class: "layer" }, image, over);
    const stage = el("div", { class: `stage${canPoint ? " is-point" : ""}`, tabindex: "0", role: "group",
      "aria-label": `${say("alt", { at, num: quiz.questions.length })}. ${say(canPoint ? "point" : "look")}` }, layer);
    const view = { scale: 1, x: 0, y: 0 };
    let point = said;
    image.addEventListener("error", () => { stage.textContent = say("picture"); stage.style.color = "#fff"; });
    image.addEventListener("load", draw);

    function shape(kind, attributes) {
      const node = document.createElementNS(NS, kind);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      over.append(node);
    }
    function draw() {
      const w = 1000, h = (1000 * (image.naturalHeight || 1)) / (image.naturalWidth || 1);
      over.setAttribute("viewBox", `0 0 ${w} ${h}`);
      over.replaceChildren();
      const circle = told && told.answer && told.answer.radius ? told.answer : null;
      if (circle) shape("circle", { class: "area", cx: circle.x * w, cy: circle.y * h, r: circle.radius * w });
      if (!point) return;
      const [x, y] = [point.x * w, point.y * h], arm = 34 / view.scale;
      for (const kind of ["under", "mark"])
        shape("path", { class: kind, d: `M${x - arm} ${y}H${x + arm}M${x} ${y - arm}V${y + arm}` });
    }
    function show() {
      view.scale = Math.min(8, Math.max(1, view.scale));
      const w = layer.clientWidth, h = layer.clientHeight;
      view.x = Math.min(0, Math.max(w * (1 - view.scale), view.x));
      view.y = Math.min(0, Math.max(h * (1 - view.scale), view.y));
      layer.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
      stage.classList.toggle("is-large", view.scale > 1);
      draw();
    }
    function zoom(factor, cx, cy) {
      const old = view.scale, box = layer.getBoundingClientRect();
      const px = (cx ?? box.left + box.width / 2) - box.left, py = (cy ?? box.top + box.height / 2) - box.top;
      view.scale = Math.min(8, Math.max(1, old * factor));
      view.x -= px * (view.scale / old - 1);
      view.y -= py * (view.scale / old - 1);
      show();
    }
    function set(x, y) {
      point = { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) };
      draw();
      stage.dispatchEvent(new CustomEvent("point", { detail: point }));
    }
    const fingers = new Map();
    let moved = 0, apart = 0;
    stage.addEventListener("pointerdown", (e) => {
      fingers.set(e.pointerId, e);
      moved = fingers.size > 1 ? 99 : 0;
      apart = 0;
      if (view.scale > 1 || canPoint || fingers.size > 1) stage.setPointerCapture(e.pointerId);
    });
    stage.addEventListener("pointermove", (e) => {
      const before = fingers.get(e.pointerId);
      if (!before) return;
      fingers.set(e.pointerId, e);
      if (fingers.size === 2) {
        const [a, b] = [...fingers.values()];
        const now = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
        if (apart) zoom(now / apart, (a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2);
        apart = now;
      } else {
        moved += Math.abs(e.clientX - before.clientX) + Math.abs(e.clientY - before.clientY);
        if (view.scale > 1) { view.x += e.clientX - before.clientX; view.y += e.clientY - before.clientY; show(); }
      }
    });
    function up(e) {
      const isTap = fingers.delete(e.pointerId) && e.type === "pointerup" && moved < 10 && !fingers.size;
      if (!isTap || !canPoint) return;
      const box = layer.getBoundingClientRect();
      set((e.clientX - box.left) / box.width, (e.clientY - box.top) / box.height);
    }
    stage.addEventListener("pointerup", up);
    stage.addEventListener("pointercancel", up);
    stage.addEventListener("dblclick", (e) => { if (!canPoint) zoom(view.scale > 1 ? 1 / 8 : 2.5, e.clientX, e.clientY); });
    stage.addEventListener("wheel", (e) => { e.preventDefault(); zoom(Math.exp(-e.deltaY / 400), e.clientX, e.clientY); }, { passive: false });
    stage.addEventListener("keydown", (e) => {
      const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
      const step = e.shiftKey ? 0.005 : 0.025;
      if (e.key === "+" || e.key === "=") zoom(1.4);
      else if (e.key === "-") zoom(1 / 1.4);
      else if (e.key === "0") zoom(1 / 8);
      else if (arrow && canPoint) set((point ? point.x : 0.5) + arrow[0] * step, (point ? point.y : 0.5) + arrow[1] * step);
      else if (arrow && view.scale > 1) { view.x -= 40 * arrow[0]; view.y -= 40 * arrow[1]; show(); }
      else return;
      e.preventDefault();
    });
    const press = (sign, key, factor) => el("button", { type: "button", "aria-label": say(key), title: say(key), onclick: () => zoom(factor) }, sign);
    const figure = el("figure", {}, stage, el("figcaption", {}, el("span", {}, say("label")),
      press("−", "smaller", 1 / 1.5), press("+", "larger", 1.5), press("⤢", "whole", 1 / 8)));
    figure.stage = stage;
    return figure;
  }

  // Pages

  function page(kind, ...children) {
    main.className = kind;
    main.replaceChildren(...children.filter((child) => child != null));
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }

  function welcome() {
    const name = el("input", { type: "text", maxlength: "40", autocomplete: "nickname", enterkeyhint: "go" });
    name.value = own.name || "";
    const start = el("button", { class: "act" }, say("start"));
    page("is-start", $("about"),
      el("form", { onsubmit: (e) => { e.preventDefault(); start.disabled = true; begin(name.value).finally(() => { start.disabled = false; }); } },
        el("label", { class: "field" }, say("name"), name), start, el("p", { class: "soft" }, say("hint"))));
  }

  async function begin(name) {
    own.name = name.trim().slice(0, 40);
    keep();
    try {
      const told = await ask("PUT", `/sittings/${own.sitting}`, { name: own.name });
      if (told.error) return refused(told.error);
      take(told);
    } catch (error) {
      status(say(error.message === "slow" ? "slow" : "broken"));
      timer = setTimeout(() => begin(own.name), wait);
      wait = Math.min(2 * wait, 20000);
    }
  }

  function take(told) {
    status("");
    wait = 1000;
    quiz = told;
    for (const number of Object.keys(quiz.answers)) delete own.pending[number];
    keep();
    send();
    go();
  }

  function refused(code) { page("is-over", el("h1", {}, say(code))); }

  function go() {
    place = quiz.questions.findIndex((q) => !answered(q.number));
    if (place < 0 || !quiz.is_open) end();
    else question();
  }

  function progress(text) { $("progress").hidden = !text; $("progress").textContent = text; }

  function question() {
    const q = quiz.questions[place], at = place + 1, num = quiz.questions.length;
    progress(say("place", { at, num }) + (isPreview ? ` · ${say("preview")}` : ""));
    const go = el("button", { class: "act", disabled: true }, say("answer"));
    let said = null;
    const take = (value) => { said = value; go.disabled = said === null; };
    const figure = picture(at, q.number, { canPoint: q.kind === "point" });
    figure.stage.addEventListener("point", (e) => take(e.detail));
    const fields = el("fieldset", {}, el("legend", {}, q.text));
    if (q.kind === "text") {
      const box = el("textarea", { rows: "4", maxlength: "1000", "aria-label": say("text"), oninput: () => take(box.value.trim() || null) });
      fields.append(box, el("p", { class: "soft" }, say("open")));
    } else if (q.kind === "point") {
      fields.append(el("p", { class: "soft" }, say("point")));
    } else {
      const choices = q.kind === "normal" ? [say("normal"), say("abnormal")] : q.choices;
      if (q.kind === "multiple") fields.append(el("p", { class: "soft" }, say("several")));
      choices.forEach((text, i) => fields.append(el("label", { class: "choice" },
        el("input", { type: q.kind === "multiple" ? "checkbox" : "radio", name: "choice", value: i, onchange: () => {
          const marked = [...fields.querySelectorAll(":checked")].map((box) => Number(box.value));
          take(marked.length ? marked : null);
        } }), el("span", {}, text))));
    }
    const form = el("form", { onsubmit: (e) => {
      e.preventDefault();
      if (said === null) return;
      own.pending[q.number] = said;
      keep();
      if (quiz.tell === "end") { if (quiz.questions.some((each) => !answered(each.number))) next(); else { quiz.atEnd = true; page("is-over", el("p", {}, "…")); } }
      else feedback();
      send();
    } }, fields, go);
    figure.stage.addEventListener("keydown", (e) => {
      if (e.key !== "Enter" || said === null) return;
      e.preventDefault();  // or the same key would press the button that gets the focus next
      form.requestSubmit();
    });
    page("is-question", figure, form);
    const ahead = quiz.questions[place + 1];
    if (ahead) new Image().src = `${base}/picture/${ahead.number}`;
  }

  function next() {
    place = quiz.questions.findIndex((q) => !answered(q.number));
    if (place < 0 || !quiz.is_open) { quiz.atEnd = true; send(); } else question();
  }

  // What a learner said, and what is right
  function verdict(q, at, { isShort = false } = {}) {
    const told = quiz.answers[q.number], said = told ? told.said : own.pending[q.number];
    const isTold = told && "right" in told;
    const box = el("div", { class: `verdict ${isTold && told.right !== null ? (told.right ? "good" : "bad") : ""}` });
    const key = remarks[q.number] ? (remarks[q.number] === "closed" ? "lost" : "bad") : !told && said === undefined ? "missing" : !told ? "later" : !isTold ? "kept" : told.right === null ? "open" : told.right ? "right" : "wrong";
    box.append(el("p", {}, el("strong", {}, (key === "right" ? "✓ " : key === "wrong" ? "✗ " : "") + say(key, { at }))));
    const choices = q.kind === "normal" ? [say("normal"), say("abnormal")] : q.choices;
    const list = el("div");
    if (q.kind === "text" && said) list.append(el("p", { class: "said" }, said));
    if (q.kind === "point" && isTold) list.append(el("p", {}, say("area")));
    if (Array.isArray(said) || (isTold && Array.isArray(told.answer))) choices.forEach((text, i) => {
      const mine = (said || []).includes(i), right = isTold && told.answer.includes(i);
      if (isShort && !mine && !right) return;
      const notes = [mine ? say("yours") : "", right ? say("correct") : ""].filter(Boolean).join(", ");
      list.append(el("div", { class: `choice${right ? " is-right" : mine && isTold ? " is-wrong" : ""}` },
        el("span", {}, text), notes ? el("b", {}, `${right ? "✓" : mine && isTold ? "✗" : "•"} ${notes}`) : null));
    });
    if (isTold && told.explanation) box.append(el("p", { class: "said" }, told.explanation));
    return el("div", {}, box, list);
  }

  function feedback() {
    const q = quiz.questions[place], at = place + 1, told = quiz.answers[q.number];
    const isLast = quiz.questions.every((each) => answered(each.number));
    const said = told ? told.said : own.pending[q.number];
    const figure = picture(at, q.number, { told, said: q.kind === "point" ? said : null });
    const go = el("button", { class: "act", type: "button", onclick: next }, say(isLast ? "end" : "next"));
    const verdictBox = verdict(q, at);
    verdictBox.id = "told";
    go.setAttribute("aria-describedby", "told");  // a screen reader says it with the button that has the focus
    page("is-question is-told", figure, el("div", {}, el("h2", {}, q.text), verdictBox, go));
    go.focus({ preventScroll: true });
    verdictBox.firstChild.scrollIntoView({ block: "nearest" });
  }

  function arrived(number) {
    const q = quiz.questions[place];
    if (q && q.number === number && main.classList.contains("is-told")) feedback();
  }

  async function end() {
    quiz.atEnd = true;
    progress("");
    const waits = Object.keys(own.pending).length;
    if (!waits && !isPreview && quiz.is_open && !quiz.isFresh) {
      try {
        const told = await ask("GET", `/sittings/${own.sitting}`);
        if (!told.error) quiz = { ...told, atEnd: true, isFresh: true };
      } catch { timer = setTimeout(end, wait); wait = Math.min(2 * wait, 20000); }
    }
    const scored = quiz.questions.filter((q) => q.kind !== "text");
    const right = scored.filter((q) => (quiz.answers[q.number] || {}).right).length;
    const isTold = scored.every((q) => !quiz.answers[q.number] || "right" in quiz.answers[q.number]) && !waits;
    const head = !scored.length ? [el("p", {}, say("none"))]
      : isTold ? [el("p", {}, say("score")), el("p", { class: "score", id: "score" }, say("of", { right, num: scored.length }))] : [];
    page("is-over", el("h1", {}, quiz.title), quiz.is_open ? el("p", {}, say("thanks")) : el("p", { role: "alert" }, say("closed")),
      ...head, isPreview ? el("p", {}, say("preview")) : null,
      el("ol", { class: "review" }, ...quiz.questions.map((q, i) => {
        const told = quiz.answers[q.number];
        return el("li", {}, picture(i + 1, q.number, { told, said: q.kind === "point" && told ? told.said : null }),
          el("h2", {}, `${i + 1}. ${q.text}`), verdict(q, i + 1, { isShort: true }));
      })));
  }

  // Start: go on where this device has begun, else ask for a name.
  async function load() {
    if ($("remark") && own.name === null) return;
    if (own.name === null && !isPreview) return welcome();
    await begin(own.name || "");
  }
  load();
})();
