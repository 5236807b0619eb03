// Lines that draw a picture again are copied by one press.
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.(".about-code [data-copy]");
  if (!button) return;
  const lines = button.parentElement.querySelector("pre");
  try {
    await navigator.clipboard.writeText(lines.textContent);
    button.textContent = "✓";
  } catch { // no clipboard without https: select them, so that a key copies
    getSelection().selectAllChildren(lines);
    lines.focus();
  }
});
