// The tab 'Cases': what is pressed in its lists goes to the server through hidden boxes; the pictures of a case are
// moved here, and told as JSON; what is written is kept as a draft when the keys rest.
(() => {
  const RESTING = 1500;
  let timer = 0;

  function tell(name, value) {
    const box = document.querySelector(`#${name} textarea, #${name} input`);
    if (!box) return;
    box.value = value;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    box.dispatchEvent(new KeyboardEvent("keypress", { key: " ", bubbles: true })); // see app.js
  }

  const wish = (name, value) => tell(name, `${value}#${Date.now()}`);

  function tellImages() {
    const rows = [...document.querySelectorAll("#cases-pictures li[data-picture]")];
    tell("cases-images", JSON.stringify(rows.map((row) => ({
      picture: row.dataset.picture,
      caption: row.querySelector("input[type=text]").value,
      in_answer: row.querySelector("input[type=checkbox]").checked,
    }))));
    keepLater();
  }

  function keepLater() {
    clearTimeout(timer);
    timer = setTimeout(() => { timer = 0; wish("cases-autosave", ""); }, RESTING);
  }

  function move(row, action) {
    const rows = [...row.parentElement.children];
    const place = rows.indexOf(row);
    if (action === "remove") {
      const next = rows[place + 1] || rows[place - 1];
      row.remove();
      if (next) next.querySelector("[data-do=remove]").focus();
    } else {
      const other = rows[place + (action === "up" ? -1 : 1)];
      if (!other) return;
      if (action === "up") other.before(row); else other.after(row);
      row.querySelector(`[data-do=${action}]`).focus();
      const place_now = [...row.parentElement.children].indexOf(row) + 1;
      document.querySelector("#cases-pictures .cases-moved").textContent = `${place_now} / ${rows.length}`;
    }
    tellImages();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("#cases-listed [data-open], #cases-recent [data-add], #cases-pictures [data-do]");
    if (button?.dataset.open) {
      wish("cases-open", button.dataset.open);
      document.getElementById("cases-note")?.scrollIntoView({ block: "center" });
    } else if (button?.dataset.add) {
      wish("cases-add", button.dataset.add);
    } else if (button?.dataset.do) {
      move(button.closest("li"), button.dataset.do);
    } else if (event.target.closest("#cases-save, #cases-copy, #cases-close, #cases-really")) {
      clearTimeout(timer);
      timer = 0;
    }
  });

  document.addEventListener("input", (event) => {
    if (event.target.closest("#cases-pictures")) tellImages();
    else if (event.target.closest("#cases-writing")) keepLater();
  });

  // Only what a draft does not hold yet would be lost.
  window.addEventListener("beforeunload", (event) => {
    if (!timer) return;
    wish("cases-autosave", "");
    event.preventDefault();
  });
})();
