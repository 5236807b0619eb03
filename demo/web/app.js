// What all tabs share in the browser: a wish of one tab to another goes through a hidden text box of gradio's.
// Who may only rate is shown what they may use (styles of app.py); what they may do, the server decides.
document.documentElement.dataset.role = document.cookie.match(/(?:^|; )vesalius_role=(\w+)/)?.[1] ?? "";
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
