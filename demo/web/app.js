// What all tabs share in the browser: a wish of one tab to another goes through a hidden text box of gradio's.
// Who may only rate is shown what they may use (styles of app.py); what they may do, the server decides.
document.documentElement.dataset.role = document.cookie.match(/(?:^|; )vesalius_role=(\w+)/)?.[1] ?? "";
// gradio heads what it reports in English, whatever title the server gives, and says so too that the server is gone.
const REPORTED = {
  "Error": "未能完成", "Connection Lost": "连接中断",
  "Connection to the server was lost. Attempting reconnection...": "与服务器的连接已中断，正在尝试重新连接……",
};
if (navigator.language.toLowerCase().startsWith("zh")) {
  new MutationObserver(() => {
    for (const toast of document.querySelectorAll(".toast-body")) {
      const texts = document.createTreeWalker(toast, NodeFilter.SHOW_TEXT);
      for (let text; (text = texts.nextNode());) {
        const told = REPORTED[text.nodeValue.trim()];
        if (told) text.nodeValue = `${told} `;
      }
      toast.querySelector("[data-testid=toast-close]")?.setAttribute("aria-label", "关闭");
    }
  }).observe(document.documentElement, { childList: true, subtree: true });
}
window.vesalius = Object.assign(window.vesalius || {}, {
  // The page's address names the job that Create shows, so that a reload, or the link sent on, shows it again.
  attach(job) {
    if (job) history.replaceState(null, "", `?job=${encodeURIComponent(job)}`);
    else if ((job = new URLSearchParams(location.search).get("job"))) this.send("follow", job.slice(0, 60));
  },

  // What the server says of why something cannot be done; what the package below it said stands behind it.
  reason: (told, rest) => [told.error || told.detail || rest, told.details && `(${told.details})`].filter(Boolean).join(" "),

  send(link, value) {
    if (link === "follow") this.attach(value);
    const box = document.querySelector(`#link-${link} textarea, #link-${link} input`);
    if (!box) return;
    // A mark makes the same wish twice a change; the server cuts it off.
    box.value = `${value}#${Date.now()}`;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    // gradio takes the value at the one, and tells the server at the other.
    box.dispatchEvent(new KeyboardEvent("keypress", { key: "Unidentified", bubbles: true }));
  },
});
