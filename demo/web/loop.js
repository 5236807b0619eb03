// The loops: looks again every few seconds while the page is seen, and tells the server what an owner decides.
(() => {
  const EVERY = 5000;
  const filled = (words, values) => words.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  async function ask(path, told) {
    const answer = await fetch(`/loops/${path}`, told === undefined ? {} : {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(told),
    });
    const found = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(window.vesalius.reason(found, String(answer.status)));
    return found;
  }

  (window.vesalius ||= {}).loop = (root) => {
    if (!root || root.dataset.ready) return;
    root.dataset.ready = "yes";
    const body = document.createElement("div");
    body.append(...root.childNodes); // says that the loops are being read, until they are
    const remark = document.createElement("p");
    remark.setAttribute("role", "status");
    remark.className = "loop-remark";
    root.replaceChildren(remark, body);
    let stamp = "", words = {}, soon = 0;

    const opened = () => new Set([...body.querySelectorAll("details[open]")].map(name));
    const name = (details) => {
      const section = details.closest(".loop-one")?.getAttribute("aria-label") ?? "";
      const inside = details.parentElement.closest("details")?.dataset.round ?? "";
      return `${section}/${inside}/${details.dataset.round ?? details.querySelector("summary").textContent}`;
    };

    async function look() {
      try {
        const found = await ask(`page?stamp=${encodeURIComponent(stamp)}`);
        if (found.html !== undefined) {
          const open = opened(), reason = body.querySelector(".loop-reason")?.value ?? "";
          body.innerHTML = found.html;
          words = found.words;
          for (const each of body.querySelectorAll("details")) each.open = open.has(name(each));
          const box = body.querySelector(".loop-reason");
          if (box) box.value = reason;
        }
        stamp = found.stamp;
        if (remark.dataset.lost) { remark.textContent = ""; delete remark.dataset.lost; }
      } catch (error) {
        remark.textContent = error instanceof TypeError ? (words.lost ?? error.message) : error.message;
        remark.dataset.lost = "yes";
      }
    }

    async function again() {
      clearTimeout(soon);
      if (!root.isConnected) return;
      // Not while someone writes a reason, whose place and words would be lost.
      if (root.offsetParent !== null && !document.hidden && !root.contains(document.activeElement?.closest("input:not([type=checkbox])"))) {
        await look();
      }
      soon = setTimeout(again, EVERY);
    }

    body.addEventListener("change", async (event) => {
      if (!event.target.matches(".loop-out")) return;
      const box = event.target, review = box.closest(".loop-review");
      try {
        const told = await ask("keep_out", { loop: Number(review.dataset.loop), sample: box.dataset.sample, on: box.checked });
        review.dataset.out = told.kept_out;
        review.querySelector(".loop-chosen").textContent = filled(words.chosen, told);
      } catch (error) {
        box.checked = !box.checked;
        remark.textContent = error.message;
      }
    });
    body.addEventListener("click", async (event) => {
      if (!event.target.matches(".loop-approve")) return;
      const review = event.target.closest(".loop-review"), out = Number(review.dataset.out);
      if (!window.confirm(filled(words.sure, { let_in: Number(review.dataset.num) - out, kept_out: out }))) return;
      event.target.disabled = true;
      try {
        const told = await ask("approve", {
          loop: Number(review.dataset.loop), reason: review.querySelector(".loop-reason").value, expected: out,
        });
        const section = review.closest(".loop-one").getAttribute("aria-label");
        remark.textContent = filled(words.approved, {
          n: told.round, accepted: told.accepted ?? "", kept_out: told.kept_out, name: section,
        });
      } catch (error) {
        remark.textContent = error.message;
        event.target.disabled = false;
      }
      stamp = "";
      await look();
    });
    again();
  };
})();
