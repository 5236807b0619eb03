// What all tabs share in the browser: a wish of one tab to another goes through a hidden text box of gradio's.
window.vesalius = {
  send(link, value) {
    const box = document.querySelector(`#link-${link} textarea, #link-${link} input`);
    if (!box) return;
    // A mark makes the same wish twice a change; the server cuts it off.
    box.value = `${value}#${Date.now()}`;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    // gradio's text box takes the value from the first event, and tells the server at the second.
    box.dispatchEvent(new KeyboardEvent("keypress", { key: " ", bubbles: true }));
  },
};
