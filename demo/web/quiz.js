// The tab 'Quiz': it draws what vesalius.demo.quiz.desk tells. Text of people only ever becomes text, never HTML.
window.vesaliusQuiz = (() => {
  "use strict";
  const KINDS = ["single", "multiple", "point", "normal", "text"];
  const NS = "http://www.w3.org/2000/svg";
  let root = null, words = {}, clock = null, others = {};

  const say = (key, values = {}) => (words[key] || key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
  function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "value") node.value = value;
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child != null));
    return node;
  }
  const button = (key, onclick, more = {}) => el("button", { type: "button", onclick, ...more }, say(key));
  const row = (...children) => el("div", { class: "quiz-row" }, ...children);

  async function ask(method, path, body) {
    let answer, told;
    try {
      answer = await fetch(`/quizzes${path}`, {
        method, cache: "no-store",
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
      });
      told = await answer.json();
    } catch { throw new Error(say("failed")); }
    if (!answer.ok) throw new Error(window.vesalius.reason(told, say("failed")));
    return told;
  }
  // Runs what a button does, and shows its error in words above the page.
  const tried = (action) => async (...args) => {
    root.querySelector(".quiz-alert")?.remove();
    try { await action(...args); } catch (error) {
      root.prepend(el("p", { class: "quiz-alert", role: "alert", tabindex: "-1" }, error.message));
      root.firstChild.focus();
    }
  };
  function page(...children) {
    clearInterval(clock);
    root.replaceChildren(...children.filter((child) => child != null));
  }

  // The list

  const list = tried(async () => {
    const quizzes = await ask("GET", "");
    page(row(el("h3", {}, say("yours")), button("new", () => edit(null), { class: "quiz-act" })),
      quizzes.length ? null : el("p", { class: "quiz-soft" }, say("none")), ...quizzes.map(card));
  });

  function card(quiz) {
    const state = el("span", { class: "quiz-badge" }, say(quiz.is_open ? "open" : "closed"));
    const then = (method, path, body) => tried(async () => { await ask(method, `/${quiz.id}${path}`, body); await list(); });
    return el("section", { class: "quiz-card", "aria-label": quiz.title },
      row(el("h4", {}, quiz.title), state), el("p", { class: "quiz-soft" }, say("counts", quiz)),
      row(button("show", () => screen(quiz), { class: "quiz-act" }), button("results", tried(() => results(quiz.id))),
        el("a", { class: "quiz-button", href: `/quizzes/${quiz.id}/preview`, target: "_blank", rel: "noopener" }, say("preview")),
        button("edit", tried(async () => edit(await ask("GET", `/${quiz.id}`)))),
        button("copy", then("POST", "/copy")),
        button(quiz.is_open ? "do_close" : "do_open", then("PUT", "/open", { open: !quiz.is_open })),
        button("delete", () => { if (confirm(say("sure", quiz))) then("DELETE", "")(); })));
  }

  // The link, large enough for the last row
  function screen(quiz) {
    const link = location.origin + quiz.link;
    const copied = el("span", { role: "status" });
    const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
    const shown = el("dialog", { class: "quiz-screen", "aria-label": say("link"), onclose: () => shown.remove() },
      el("h2", {}, quiz.title), el("p", {}, say("scan")),
      el("img", { src: `/quizzes/${quiz.id}/qr.svg?origin=${encodeURIComponent(location.origin)}`, alt: say("link") }),
      el("p", { class: "quiz-address" }, link),
      isLocal ? el("p", { class: "quiz-alert" }, say("local")) : null,
      el("div", {}, button("copy_link", async () => {
        try { await navigator.clipboard.writeText(link); copied.textContent = say("copied"); }
        catch { getSelection().selectAllChildren(shown.querySelector(".quiz-address")); }
      }), button("close_view", () => shown.close()), copied));
    document.body.append(shown);
    shown.showModal();
  }

  // Results, which fill by themselves

  async function results(id) {
    const body = el("div");
    let last = "";
    async function fill() {
      const told = await ask("GET", `/${id}/results`), now = JSON.stringify(told);
      if (now === last) return;
      last = now;
      const forget = (path, who) => () => { if (confirm(say("forget_sure", { who }))) tried(async () => { await ask("DELETE", `/${id}/sittings${path}`); await fill(); })(); };
      body.replaceChildren(
        row(el("h3", {}, told.title), el("span", { class: "quiz-badge" }, say(told.is_open ? "open" : "closed"))),
        row(button("back", list), el("a", { class: "quiz-button", href: `/quizzes/${id}.csv`, download: "" }, say("csv")),
          told.learners.length ? button("forget", forget("", say("all"))) : null),
        ...(told.learners.length ? [] : [el("p", { class: "quiz-soft" }, say("nobody"))]),
        ...told.by_question.map((question, i) => about(question, i + 1)),
        told.learners.length ? el("div", { class: "quiz-scroll", tabindex: "0", role: "region", "aria-label": say("learner") }, el("table", {},
          el("thead", {}, el("tr", {}, ...["learner", "answered", "score"].map((key) => el("th", { scope: "col" }, say(key))), el("td", {}))),
          el("tbody", {}, ...told.learners.map((each) => {
            const who = each.learner || say("nameless");
            return el("tr", {}, el("th", { scope: "row" }, who), el("td", {}, `${each.answered} / ${told.questions}`),
              el("td", {}, `${each.score} / ${each.of}`),
              el("td", {}, button("delete", forget(`/${each.id}`, who), { "aria-label": `${say("delete")}: ${who}` })));
          })))) : "");
    }
    page(body);
    await fill();
    clock = setInterval(() => { if (document.contains(body) && body.offsetParent && !document.hidden) fill().catch(() => {}); }, 3000);
  }

  function about(question, place) {
    const percent = question.answered ? Math.round((100 * (question.right || 0)) / question.answered) : 0;
    const told = el("div", {}, el("h4", {}, `${place}. ${question.text}`),
      el("p", { class: "quiz-soft" }, say(question.right === null ? "share_text" : "share", { ...question, percent })));
    if (question.right !== null) {
      const filled = el("i");
      filled.style.width = `${percent}%`;
      told.append(el("div", { class: "quiz-bar", "aria-hidden": "true" }, filled));
    }
    if (question.others.length) told.append(el("p", { class: "quiz-soft" }, say("wrong")),
      el("ul", {}, ...question.others.map(([text, count]) => el("li", {}, `${text} (${count})`))));
    const shown = picture(question.picture, say("alt_plain", { place }));
    if (question.circle) ring(shown, question.circle.x, question.circle.y, question.circle.radius, "");
    for (const point of question.points) dot(shown, point);
    return el("section", { class: "quiz-card quiz-two", "aria-label": say("question", { place }) }, el("div", {}, shown, el("p", { class: "quiz-soft" }, say("label"))), told);
  }

  // Pictures with what lies over them

  function picture(id, alt) {
    const over = document.createElementNS(NS, "svg");
    over.setAttribute("aria-hidden", "true");
    const image = el("img", { src: `/pictures/${id}.png`, alt, loading: "lazy", draggable: "false" });
    const frame = () => over.setAttribute("viewBox", `0 0 100 ${(100 * (image.naturalHeight || 1)) / (image.naturalWidth || 1)}`);
    image.addEventListener("load", frame);
    frame();
    return el("div", { class: "quiz-picture" }, image, over);
  }
  function ring(frame, x, y, r, kind) {
    const node = document.createElementNS(NS, "circle"), height = () => frame.querySelector("svg").viewBox.baseVal.height;
    const put = () => { for (const [name, value] of [["cx", x * 100], ["cy", y * height()], ["r", r * 100]]) node.setAttribute(name, value); };
    node.setAttribute("class", kind);
    frame.querySelector("img").addEventListener("load", put);
    put();
    frame.querySelector("svg").append(node);
  }
  const dot = (frame, point) => ring(frame, point.x, point.y, 0.012, "quiz-dot");

  // The editor

  function edit(old) {
    const quiz = old || { title: "", note: "", shuffled: true, tell: "each", questions: [] };
    let isChanged = false;
    const changed = (action) => (e) => { isChanged = true; action(e.target); };
    const field = (key, node) => el("label", {}, say(key), node);
    const questions = el("div");
    const draw = () => questions.replaceChildren(...quiz.questions.map((question, i) => asked(question, i)));
    const save = tried(async () => {
      await ask(old ? "PUT" : "POST", old ? `/${old.id}` : "", quiz);
      await list();
    });
    const leave = () => { if (!isChanged || confirm(say("leave"))) list(); };
    const shuffled = el("input", { type: "checkbox", onchange: changed((box) => { quiz.shuffled = box.checked; }) });
    shuffled.checked = quiz.shuffled;
    const tell = el("select", { onchange: changed((box) => { quiz.tell = box.value; }) },
      ...["each", "end"].map((each) => el("option", { value: each }, say(`tell_${each}`))));
    tell.value = quiz.tell;
    page(row(el("h3", {}, quiz.title || say("new")), button("back", leave)),
      field("title", el("input", { type: "text", maxlength: 120, value: quiz.title, oninput: changed((box) => { quiz.title = box.value; }) })),
      field("note", el("textarea", { rows: 2, maxlength: 2000, value: quiz.note, oninput: changed((box) => { quiz.note = box.value; }) })),
      el("label", {}, shuffled, ` ${say("shuffled")}`), field("tell", tell), questions,
      picker((told) => { isChanged = true; Object.assign(others, told.others); quiz.questions.push(...told.questions.map((q) => ({ ...q, modality: told.modalities[q.picture] }))); draw(); questions.lastChild?.scrollIntoView({ block: "nearest" }); }, !old),
      row(button("save", save, { class: "quiz-act" }), button("back", leave)));
    draw();

    function asked(question, i) {
      const put = (key) => changed((box) => { question[key] = box.value; });
      const again = (action) => changed((box) => { action(box); draw(); });
      const move = (by) => () => { isChanged = true; quiz.questions.splice(i + by, 0, ...quiz.questions.splice(i, 1)); draw(); };
      const kind = el("select", { onchange: again((box) => {
        question.kind = box.value;
        if (box.value === "single" || box.value === "normal") question.right = question.right.slice(0, 1).filter((r) => box.value === "single" || r < 2);
        if (box.value === "normal" && !question.right.length) question.right = [1];
        if (["single", "multiple"].includes(box.value)) while (question.choices.length < 2) question.choices.push("");
        // A question that was proposed and left as it was asks what the new kind asks.
        const usual = ["ask_finding", "ask_normal", "ask_point"].map((key) => say(key, { modality: question.modality }));
        if ([...usual, say("ask_diagnosis")].includes(question.text)) question.text = usual[{ normal: 1, point: 2 }[box.value] || 0];
      }) }, ...KINDS.map((each) => el("option", { value: each }, say(each))));
      kind.value = question.kind;
      const frame = picture(question.picture, say("alt_plain", { place: i + 1 }));
      const left = el("div", {}, frame, el("p", { class: "quiz-soft" }, say("label")));
      const right = el("div", {}, field("kind", kind),
        field("ask", el("textarea", { rows: 2, maxlength: 500, value: question.text, oninput: put("text") })));
      if (question.kind === "normal") right.append(...["is_normal", "is_abnormal"].map((key, value) => {
        const box = el("input", { type: "radio", name: `quiz-normal-${i}`, onchange: changed(() => { question.right = [value]; }) });
        box.checked = question.right[0] === value;
        return el("label", {}, box, ` ${say(key)}`);
      }));
      if (["single", "multiple"].includes(question.kind)) right.append(choices(question, i));
      if (question.kind === "point") left.append(circle(question, frame));
      right.append(field("explanation", el("textarea", { rows: 3, maxlength: 2000, value: question.explanation, oninput: put("explanation") })),
        row(button("up", move(-1), { disabled: i === 0 }), button("down", move(1), { disabled: i === quiz.questions.length - 1 }),
          button("remove", () => { isChanged = true; quiz.questions.splice(i, 1); draw(); })));
      return el("section", { class: "quiz-card", "aria-label": say("question", { place: i + 1 }) },
        el("h4", {}, say("question", { place: i + 1 })), el("div", { class: "quiz-two" }, left, right));
    }

    function choices(question, i) {
      const box = el("div");
      const again = (action) => tried(async () => { isChanged = true; await action(); show(); });
      function show() {
        box.replaceChildren(...question.choices.map((text, place) => {
          const mark = el("input", { type: question.kind === "single" ? "radio" : "checkbox", name: `quiz-right-${i}`, onchange: changed((m) => {
            question.right = question.kind === "single" ? [place] : question.right.filter((r) => r !== place).concat(m.checked ? [place] : []);
          }) });
          mark.checked = question.right.includes(place);
          return el("div", { class: "quiz-choice" }, el("label", {}, mark, ` ${say("right")}`),
            el("input", { type: "text", maxlength: 200, value: text, "aria-label": say("choice", { place: place + 1 }), oninput: changed((b) => { question.choices[place] = b.value; }) }),
            el("button", { type: "button", "aria-label": `${say("remove")}: ${say("choice", { place: place + 1 })}`, disabled: question.choices.length < 3, onclick: again(() => {
              question.choices.splice(place, 1);
              question.right = question.right.filter((r) => r !== place).map((r) => (r > place ? r - 1 : r));
            }) }, "✕"));
        }), row(
          button("add_choice", again(() => { question.choices.push(""); }), { disabled: question.choices.length >= 8 }),
          button("suggest", again(async () => {
            if (!others[question.picture]) Object.assign(others, (await ask("POST", "/propose", { pictures: [question.picture] })).others);
            const free = others[question.picture].filter((each) => !question.choices.includes(each));
            if (!free.length) throw new Error(say("nothing"));
            const empty = question.choices.indexOf("");
            question.choices.splice(empty < 0 ? question.choices.length : empty, empty < 0 ? 0 : 1, free[0]);
          }), { disabled: question.choices.length >= 8 && !question.choices.includes("") })));
      }
      show();
      return box;
    }

    // The circle: by dragging, or by three fields
    function circle(question, frame) {
      const fields = ["x", "y", "radius"].map((key) => el("input", { type: "number", min: 0, max: 100, step: 1, oninput: changed((box) => {
        question.circle = { x: 0.5, y: 0.5, radius: 0.1, ...question.circle, [key]: Math.min(1, Math.max(0, Number(box.value) / 100)) };
        show();
      }) }));
      function show(isDragged) {
        frame.querySelectorAll("circle").forEach((node) => node.remove());
        if (!question.circle) return;
        ring(frame, question.circle.x, question.circle.y, question.circle.radius, "");
        if (isDragged !== false) ["x", "y", "radius"].forEach((key, i) => { if (document.activeElement !== fields[i]) fields[i].value = Math.round(question.circle[key] * 100); });
      }
      let from = null;
      const at = (e) => { const box = frame.getBoundingClientRect(); return { x: (e.clientX - box.left) / box.width, y: (e.clientY - box.top) / box.height, shape: box.height / box.width }; };
      frame.classList.add("is-drawn");
      frame.addEventListener("pointerdown", (e) => { from = at(e); frame.setPointerCapture(e.pointerId); e.preventDefault(); });
      frame.addEventListener("pointermove", (e) => {
        if (!from) return;
        const to = at(e);
        isChanged = true;
        question.circle = { x: from.x, y: from.y, radius: Math.min(1, Math.max(0.02, Math.hypot(to.x - from.x, (to.y - from.y) * from.shape))) };
        show();
      });
      frame.addEventListener("pointerup", () => { from = null; });
      show();
      return el("div", {}, el("p", { class: "quiz-soft" }, say("draw")),
        el("div", { class: "quiz-three" }, ...["x", "y", "radius"].map((key, i) => el("label", {}, say(key), fields[i]))));
    }
  }

  function picker(take, isOpen) {
    const grid = el("div", { class: "quiz-grid" }), diagnosis = el("input", { type: "text", maxlength: 200 });
    const differential = el("textarea", { rows: 2, maxlength: 1600 });
    const box = el("details", { class: "quiz-card", open: isOpen }, el("summary", {}, say("pictures")),
      el("p", { class: "quiz-soft" }, say("pictures_hint")), grid, el("p", { class: "quiz-soft" }, say("label")),
      el("label", {}, say("diagnosis"), diagnosis), el("label", {}, say("differential"), differential),
      row(button("propose", tried(async () => {
        const chosen = [...grid.querySelectorAll(":checked")];
        take(await ask("POST", "/propose", { pictures: chosen.map((each) => each.value), diagnosis: diagnosis.value, differential: differential.value.split("\n").filter((line) => line.trim()) }));
        for (const each of chosen) each.checked = false;
      }))));
    // A case gives its pictures, its diagnosis and its differential.
    const cases = el("select", { onchange: tried(async () => {
      if (!cases.value) return;
      take(await ask("POST", "/propose", { case: cases.value }));
      cases.value = "";
    }) }, el("option", { value: "" }, say("no_case")));
    ask("GET", "/cases").then((told) => {
      cases.append(...told.map((each) => el("option", { value: each.id }, each.title)));
      if (told.length) box.append(el("label", {}, say("case"), cases));
    }).catch(() => {});
    ask("GET", "/pictures").then((pictures) => {
      grid.append(...(pictures.length ? pictures : []).map((each) => el("label", {},
        el("img", { src: `/pictures/${each.id}.png`, alt: say("alt", each), loading: "lazy" }),
        el("input", { type: "checkbox", value: each.id }), ` ${each.text.length > 60 ? `${each.text.slice(0, 57)}...` : each.text}`)));
      if (!pictures.length) grid.append(el("p", { class: "quiz-soft" }, say("no_pictures")));
    }).catch(() => {});
    return box;
  }

  async function start(element) {
    root = element;
    try { words = await (await fetch("/quizzes/words")).json(); } catch { return; }
    await list();
    // The list is fresh each time the tab is opened; an editor or results that are open stay.
    new IntersectionObserver((seen) => {
      if (seen.some((each) => each.isIntersecting) && !root.querySelector("input, .quiz-two")) list();
    }).observe(root);
  }
  return { start };
})();
