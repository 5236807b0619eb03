// The builder, the address of the job that is shown, and pictures that are dropped on the page.
{
  const box = (name) => document.querySelector(`#${name} textarea, #${name} input`);
  const put = (name, value) => {
    const field = box(name);
    if (!field) return false;
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new KeyboardEvent("keypress", { key: "Unidentified", bubbles: true }));
    return true;
  };

  // Which control had the focus, so that it has it again once the server has drawn the builder anew.
  let wanted = null;
  const choose = (builder, change, focus) => {
    wanted = focus;
    const state = JSON.parse(builder.dataset.state);
    put("create-choice", JSON.stringify({ ...state, ...change, at: Date.now() }));
  };
  const explain = (builder, text) => {
    const why = builder.querySelector(".create-why");
    why.textContent = "";
    why.classList.toggle("create-said", Boolean(text));
    // Emptied first, so that the same reason twice is read out twice.
    setTimeout(() => { why.textContent = text || why.dataset.hint; }, 30);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".create-builder button");
    if (!button) return;
    const builder = button.closest(".create-builder");
    if (button.getAttribute("aria-disabled") === "true") {
      focusOn(button);
      explain(builder, button.dataset.why);
      return;
    }
    if (button.dataset.again) return choose(builder, { field: "again" }, "[data-again]");
    if (button.dataset.use) return choose(builder, { field: "use" }, "[data-again]");
    const { field } = button.closest("[data-field]").dataset;
    const { value } = button.dataset;
    choose(builder, { field, value }, `[data-field="${field}"] [data-value="${CSS.escape(value)}"]`);
  });
  document.addEventListener("change", (event) => {
    const field = event.target.closest?.(".create-builder [data-size]");
    if (field && field.value !== "") {
      choose(field.closest(".create-builder"), { field: "size_mm", value: field.value }, "[data-size]");
    }
  });

  const focusOn = (button) => {
    for (const each of button.closest("[role=radiogroup]").querySelectorAll("button")) each.tabIndex = -1;
    button.tabIndex = 0;
    button.focus();
  };
  document.addEventListener("keydown", (event) => {
    const button = event.target.closest?.(".create-builder [role=radio]");
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!button || !step) return;
    event.preventDefault();
    const all = [...button.parentElement.querySelectorAll("button")];
    const next = all[(all.indexOf(button) + step + all.length) % all.length];
    focusOn(next);
    explain(next.closest(".create-builder"), next.dataset.why || "");
  });

  // What is shown has an address, which another tab or a reload opens again.
  let shown = "";
  const seeJob = () => {
    const job = document.querySelector(".create-bar[data-job]")?.dataset.job;
    if (!job || job === shown) return;
    shown = job;
    window.vesalius.attach(job);
  };
  const seeBuilder = () => {
    if (wanted) {
      const control = document.querySelector(`.create-builder ${wanted}`);
      if (control && document.activeElement === document.body) {
        control.focus();
        wanted = null;
      }
    }
    for (const group of document.querySelectorAll(".create-builder [role=radiogroup]")) {
      if (!group.querySelector('[tabindex="0"]')) group.querySelector("button").tabIndex = 0;
    }
  };
  const start = () => {
    new MutationObserver(() => { seeJob(); seeBuilder(); }).observe(document.body, { childList: true, subtree: true });
    seeBuilder();
    // The page asks for its job as soon as it is there, and gradio may not listen yet: once more, if nothing came.
    setTimeout(() => {
      const job = new URLSearchParams(location.search).get("job");
      if (!job || document.querySelector(".create-bar[data-job], .toast-body")) return;
      window.vesalius.send("follow", job.slice(0, 60));
    }, 4000);
  };
  if (document.body) start(); else addEventListener("DOMContentLoaded", start);

  // A preview that is not there yet is not shown at all.
  document.addEventListener("error", (event) => {
    const figure = event.target.closest?.(".create-preview");
    if (figure) figure.hidden = true;
  }, true);

  // On a phone the pictures lie below the controls.
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#create-draw")) return;
    const place = document.querySelector("#create-results");
    if (place && place.getBoundingClientRect().top > innerHeight - 120) place.scrollIntoView({ block: "start" });
  });

  // A picture that is dropped anywhere gives back its settings.
  const isFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const isOwn = (event) => Boolean(event.target.closest?.("[data-drop], .file-preview, input[type=file]"));
  let over = null;
  const cover = (on) => {
    over?.remove();
    over = null;
    if (!on) return;
    over = document.createElement("div");
    over.className = "create-over";
    over.textContent = document.documentElement.lang.startsWith("zh") || navigator.language.startsWith("zh")
      ? "松开以调用此图像的设置" : "Drop the picture to use its settings";
    document.body.append(over);
  };
  addEventListener("dragover", (event) => {
    if (!isFile(event) || isOwn(event)) return;
    event.preventDefault();
    if (!over) cover(true);
  });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) cover(false); });
  addEventListener("drop", (event) => {
    cover(false);
    if (!isFile(event) || isOwn(event)) return;
    event.preventDefault();
    const input = document.querySelector("input[type=file]#create-file, #create-file input[type=file], .create-file input[type=file]")
      ?? document.querySelector("#create-file")?.parentElement?.querySelector("input[type=file]");
    if (!input) return;
    const files = new DataTransfer();
    files.items.add(event.dataTransfer.files[0]);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
}
