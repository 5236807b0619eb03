// The room for rating: a start page, and a stage over everything in which a picture is rated by four taps or keys.
// It asks /rate/* and is told tickets; where a picture comes from it never learns.
(() => {
  const SCALES = {
    one: [
      ["realism", [1, 2, 3, 4, 5].map((n) => [n, String(n)])],
      ["agreement", [1, 2, 3, 4, 5].map((n) => [n, String(n)])],
      ["artefact", [["none", "none"], ["minor", "minor"], ["major", "major"]]],
      ["teach", [[true, "yes"], [false, "no"]]],
    ],
    pair: [["preference", [["first", "first"], ["tie", "tie"], ["second", "second"]]]],
  };
  const AUTO = "vesalius-rate-auto";

  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name in made && name !== "list") made[name] = value;
      else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  };
  const filled = (words, values) => words.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  async function ask(path, told) {
    const answer = await fetch(`/rate/${path}`, told === undefined ? {} : {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(told),
    });
    const found = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(window.vesalius.reason(found, String(answer.status)));
    return found;
  }

  class Room {
    constructor(root, opening) {
      Object.assign(this, { root, opening, words: opening.words, turn: null, said: {}, busy: false });
      root.replaceChildren(...this.start());
    }

    // ---- The start page

    start() {
      const { words, opening } = this;
      this.remark = make("p", { className: "rate-remark", role: "status" });
      this.mode = "one";
      const coarse = window.matchMedia("(pointer: coarse)").matches;
      this.auto = (localStorage.getItem(AUTO) ?? (coarse ? "yes" : "no")) === "yes";
      const modes = make("fieldset", { className: "rate-modes" }, make("legend", {}, words.tab), ...["one", "pair"].map(
        (mode) => make("label", {}, make("input", {
          type: "radio", name: "rate-mode", value: mode, checked: mode === "one", onchange: () => { this.mode = mode; },
        }), ` ${words[mode]}`)));
      const auto = make("label", { className: "rate-check" }, make("input", {
        type: "checkbox", checked: this.auto, onchange: (event) => {
          this.auto = event.target.checked;
          localStorage.setItem(AUTO, this.auto ? "yes" : "no");
        },
      }), ` ${words.auto}`);
      const begin = make("button", { type: "button", className: "rate-start", onclick: () => this.begin() }, words.start);
      return [
        make("p", {}, words.lead), ...opening.notes.map((note) => make("p", { className: "rate-remark" }, note)),
        make("div", { className: "rate-who" }, ...this.who(), modes), auto, begin, this.remark,
        make("p", { className: "rate-small" }, words.keys), this.panel(),
        ...(opening.may_put ? [this.put()] : []),
        ...(opening.owns ? [make("p", { className: "rate-small" }, words.ratings)] : []),
      ];
    }

    who() {
      const { words, opening } = this;
      if (!opening.asks_name) return [make("p", {}, filled(words.as, { name: opening.rater }))];
      this.name = make("input", { value: opening.rater, maxLength: opening.most_name, autocomplete: "nickname" });
      this.level = make("select", {}, ...opening.levels.map(
        (level) => make("option", { value: level, selected: level === opening.level }, words[`level_${level}`])));
      return [make("label", {}, words.name, this.name), make("label", {}, words.level, this.level)];
    }

    rater() {
      return this.name ? { rater: this.name.value, level: this.level.value } : {};
    }

    panel() {
      const told = make("div", { role: "status" });
      const look = make("button", {
        type: "button", onclick: async () => {
          try {
            const { lines } = await ask("agreement");
            told.replaceChildren(make("ul", {}, ...lines.map((line) => make("li", {}, line))));
          } catch (error) { told.textContent = error.message; }
        },
      }, this.words.refresh);
      return make("details", { className: "rate-panel" }, make("summary", {}, this.words.panel), look, told);
    }

    put() {
      const list = make("div", { className: "rate-put" });
      const show = async () => {
        try {
          const { pictures } = await ask("put");
          list.replaceChildren(...pictures.map((picture) => {
            const box = make("input", {
              type: "checkbox", checked: picture.on, onchange: async () => {
                try { await ask("put", { pictures: [picture.id], on: box.checked }); }
                catch (error) { box.checked = !box.checked; this.remark.textContent = error.message; }
              },
            });
            return make("label", {}, make("img", {
              src: `/pictures/${picture.id}.png`, alt: "", loading: "lazy", width: 96, height: 96,
            }), make("span", {}, box, ` ${picture.text}`));
          }));
          if (!pictures.length) list.textContent = this.words.put_none;
        } catch (error) { list.textContent = error.message; }
      };
      return make("details", { className: "rate-panel", ontoggle: (event) => { if (event.target.open) show(); } },
        make("summary", {}, this.words.put), make("p", {}, this.words.put_lead), list);
    }

    // ---- The stage

    async begin() {
      await this.show(() => ask("next", { mode: this.mode, ...this.rater() }));
    }

    async show(asked) {
      if (this.busy) return;
      this.busy = true;
      try {
        this.take(await asked());
      } catch (error) {
        this.tell(error instanceof TypeError ? this.words.lost : error.message);
      } finally {
        this.busy = false;
      }
    }

    tell(words) {
      (this.stage?.open ? this.status : this.remark).textContent = words;
    }

    take(turn) {
      this.turn = turn;
      if (!turn.ticket) {
        this.stage?.close();
        this.remark.textContent = this.words[turn.why];
        return;
      }
      this.mode = turn.mode;
      this.said = { ...turn.said };
      this.row = 0;
      if (!this.stage) this.raise();
      this.draw();
      if (!this.stage.open) this.stage.showModal();
      this.stage.focus();
    }

    raise() {
      this.stage = make("dialog", {
        className: "rate-stage", tabIndex: -1, "aria-label": this.words.tab, onkeydown: (event) => this.press(event),
        onclose: () => this.ended(),
      });
      this.status = make("p", { className: "rate-status", role: "status" });
      // Outside of gradio's container, whose styles of buttons and texts would be seen here. It confines styles of narrow
      // windows to that container, too, so that these are told by a class.
      document.body.append(this.stage);
      const narrow = window.matchMedia("(max-width: 800px)");
      const fit = () => this.stage.classList.toggle("rate-narrow", narrow.matches);
      narrow.addEventListener("change", fit);
      fit();
    }

    ended() {
      if (this.turn?.rated) this.remark.textContent = filled(this.words.count, this.turn);
    }

    draw() {
      const { words, turn } = this;
      this.status.textContent = "";
      const pictures = make("div", { className: `rate-pictures rate-${turn.mode}` }, ...turn.pictures.map(
        (source, i) => make("figure", {},
          make("img", {
            src: source, alt: words.alt, draggable: false,
            onload: (event) => event.target.style.setProperty("--most", `${Math.max(320, 4 * event.target.naturalWidth)}px`),
            onerror: () => this.tell(words.lost),
          }),
          ...(turn.mode === "pair" ? [make("figcaption", {}, words[i ? "second" : "first"])] : []))));
      this.rows = SCALES[turn.mode].map(([scale, choices], place) => {
        const buttons = choices.map(([value, word], i) => make("button", {
          type: "button", className: "rate-choice", "aria-pressed": "false", onclick: () => this.say(place, value),
        }, make("kbd", { "aria-hidden": "true" }, String(i + 1)), scale === "realism" || scale === "agreement" ? "" : words[word]));
        buttons.forEach((button, i) => {
          if (scale === "realism" || scale === "agreement") button.setAttribute("aria-label", `${words[scale]} ${i + 1}`);
        });
        const row = make("div", { className: `rate-row rate-row-${choices.length}`, role: "group", "aria-label": words[scale] },
          make("span", { className: "rate-scale" }, words[scale],
            ...(choices.length === 5 ? [make("small", {}, ` ${words.low}`)] : [])), make("div", { className: "rate-choices" }, ...buttons));
        return { scale, choices, buttons, row };
      });
      this.comment = make("input", {
        className: "rate-comment", maxLength: this.opening.most_comment, value: this.said.comment || "",
        "aria-label": words.comment, placeholder: words.comment, autocomplete: "off",
      });
      this.stage.replaceChildren(
        make("header", {}, make("p", { className: "rate-label" }, words.label),
          make("p", { className: "rate-count" }, filled(words.count, turn)),
          make("button", { type: "button", className: "rate-enough", onclick: () => this.stage.close() }, words.enough)),
        make("div", { className: "rate-body" }, pictures,
          make("div", { className: "rate-said" },
            make("p", { className: "rate-text", tabIndex: 0, "aria-label": words.text }, turn.text),
            ...this.rows.map(({ row }) => row), this.comment, this.status,
            make("footer", {},
              make("button", { type: "button", onclick: () => this.back() }, words.back),
              make("button", { type: "button", className: "rate-next", onclick: () => this.next() }, words.next)))));
      this.mark();
    }

    mark() {
      this.rows.forEach(({ scale, choices, buttons, row }, place) => {
        row.classList.toggle("rate-now", place === this.row);
        buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(this.said[scale] === choices[i][0])));
      });
    }

    lacking() {
      return this.rows.findIndex(({ scale }) => this.said[scale] === undefined);
    }

    say(place, value) {
      if (this.busy) return;
      this.said[this.rows[place].scale] = value;
      this.status.textContent = "";
      const lacking = this.lacking();
      this.row = lacking < 0 ? place : lacking;
      this.mark();
      if (lacking < 0 && this.auto) {
        const turn = this.turn; // a moment to see what was chosen, and to choose otherwise
        clearTimeout(this.soon);
        this.soon = setTimeout(() => { if (this.turn === turn && this.stage.open) this.next(); }, 350);
      }
    }

    async next() {
      clearTimeout(this.soon);
      const lacking = this.lacking();
      if (lacking >= 0) {
        this.row = lacking;
        this.mark();
        this.tell(filled(this.words.lacks, { what: this.words[this.rows[lacking].scale] }));
        return;
      }
      const said = { ...this.said, comment: this.comment.value };
      await this.show(() => ask("answer", { ticket: this.turn.ticket, said }));
    }

    async back() {
      clearTimeout(this.soon);
      const name = this.name ? { rater: this.name.value } : {};
      await this.show(() => ask("back", name));
    }

    // Takes back the last word on this picture, or where there is none the picture before.
    undo() {
      clearTimeout(this.soon);
      const said = this.rows.map(({ scale }) => scale).filter((scale) => this.said[scale] !== undefined);
      if (!said.length || Object.keys(this.turn.said).length) {
        this.back();
        return;
      }
      delete this.said[said.at(-1)];
      this.row = this.lacking();
      this.mark();
    }

    press(event) {
      if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
      const writing = event.target === this.comment;
      const { key } = event;
      if (writing) {
        if (key !== "Enter") { event.stopPropagation(); if (key !== "Escape") return; }
        event.preventDefault();
        this.stage.focus();
        return;
      }
      const onButton = event.target.tagName === "BUTTON";
      const { choices } = this.rows[this.row];
      if (/^[1-9]$/.test(key) && Number(key) <= choices.length) this.say(this.row, choices[Number(key) - 1][0]);
      else if (key === "Enter" && !(onButton && !event.target.matches(".rate-choice"))) this.next();
      else if (key === "Backspace") this.undo();
      else if (key === "c" || key === "C") this.comment.focus();
      else if (key === "ArrowUp" && this.row > 0) { this.row -= 1; this.mark(); }
      else if (key === "ArrowDown" && this.row < this.rows.length - 1) { this.row += 1; this.mark(); }
      else return;
      event.preventDefault();
    }
  }

  (window.vesalius ||= {}).rate = async (root) => {
    if (!root || root.dataset.ready) return;
    root.dataset.ready = "yes";
    try {
      new Room(root, await ask("opening"));
    } catch (error) {
      delete root.dataset.ready;
      root.textContent = error.message;
    }
  };
})();
