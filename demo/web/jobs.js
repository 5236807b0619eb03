// The list of jobs: fetched while it is looked at, and changed only where it changed, so that focus stays.
(() => {
  const PARTS = ["head", "now", "pictures", "actions"];
  const BUSY = 1000, QUIET = 4000; // milliseconds
  let timer = 0, asking = false;

  const list = () => document.getElementById("jobs-list");
  const looked = () => !document.hidden && list()?.offsetParent != null;

  function put(place, html) {
    if (place.told === html) return;
    place.told = html;
    const act = place.contains(document.activeElement) && document.activeElement.dataset.act;
    const held = place.contains(document.activeElement);
    place.innerHTML = html;
    if (held) (place.querySelector(`[data-act="${act}"]`) ?? place.closest("article") ?? list()).focus();
  }

  function card(job) {
    const article = document.createElement("article");
    article.className = "jobs-card";
    article.dataset.job = job;
    article.tabIndex = -1;
    for (const part of PARTS) {
      const place = document.createElement("div");
      place.className = `jobs-${part}`;
      article.append(place);
    }
    return article;
  }

  function show(told) {
    const box = list();
    if (!box.querySelector(".jobs-above")) {
      box.innerHTML = '<div class="jobs-above"></div>';
      box.tabIndex = -1;
    }
    put(box.querySelector(".jobs-above"), told.above);
    const there = new Map([...box.querySelectorAll("article")].map((each) => [each.dataset.job, each]));
    let before = box.querySelector(".jobs-above");
    for (const job of told.jobs) {
      const article = there.get(job.id) ?? card(job.id);
      there.delete(job.id);
      article.dataset.state = job.state;
      for (const part of PARTS) put(article.querySelector(`.jobs-${part}`), job[part]);
      if (before.nextElementSibling !== article) before.after(article);
      before = article;
    }
    for (const gone of there.values()) {
      if (gone.contains(document.activeElement)) box.focus();
      gone.remove();
    }
  }

  async function refresh() {
    clearTimeout(timer);
    let pause = BUSY;
    if (looked() && !asking) {
      asking = true;
      try {
        const answer = await fetch("/jobs/list", { headers: { accept: "application/json" } });
        if (answer.status === 401) location.assign("/login");
        else if (answer.ok) {
          const told = await answer.json();
          show(told);
          pause = told.busy ? BUSY : QUIET;
        }
      } catch {
        pause = QUIET; // the server is gone for a while; what was shown stays
      }
      asking = false;
    }
    clearTimeout(timer);
    timer = setTimeout(refresh, pause);
  }

  // Why nothing is drawn, where nothing is: on top of every tab.
  async function warn() {
    if (!document.hidden && document.getElementById("title")) {
      let place = document.getElementById("jobs-trouble");
      if (!place) {
        place = document.createElement("p");
        place.id = "jobs-trouble";
        place.setAttribute("role", "alert");
        document.getElementById("title").after(place);
      }
      try {
        const answer = await fetch("/trouble");
        const told = answer.ok ? (await answer.json()).trouble : "";
        if (place.textContent !== told) place.textContent = told;
      } catch {
        // The server is gone for a while; gradio says so.
      }
    }
    setTimeout(warn, QUIET);
  }

  document.addEventListener("click", (event) => {
    const box = list();
    if (!box || !box.contains(event.target)) return;
    const button = event.target.closest("[data-act]"), picture = event.target.closest("[data-view]");
    if (picture && window.vesalius.view) {
      event.preventDefault();
      const all = [...picture.parentElement.querySelectorAll("[data-view]")].map((each) => each.dataset.view);
      const first = picture.dataset.view;
      window.vesalius.view([first, ...all.filter((each) => each !== first)], { linked: false });
    } else if (button) {
      const job = button.closest("article").dataset.job;
      if (button.dataset.act === "follow") window.vesalius.send("follow", job);
      else if (!button.dataset.confirm || confirm(button.dataset.confirm)) {
        window.vesalius.send("jobs", `${button.dataset.act} ${job}`);
      }
    }
  });
  // A tab that is opened shows its list at once.
  document.addEventListener("click", (event) => event.target.closest?.('[role="tab"]') && setTimeout(refresh, 50));
  document.addEventListener("visibilitychange", refresh);
  document.addEventListener("DOMContentLoaded", () => {
    new MutationObserver((_, observer) => {
      const said = document.getElementById("jobs-said");
      if (!said) return;
      said.setAttribute("aria-live", "polite");
      observer.disconnect();
    }).observe(document.body, { childList: true, subtree: true });
  });

  (window.vesalius ||= {}).jobs = { refresh };
  timer = setTimeout(refresh, BUSY);
  setTimeout(warn, BUSY);
})();
