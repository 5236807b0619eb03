// Figures of pictures, wherever they are on the page: their buttons and their images.
document.addEventListener("click", (event) => {
  const control = event.target.closest?.(".board-figure .board-view, .board-figure [data-board]");
  if (!control) return;
  const figure = control.closest(".board-figure");
  if (control.matches("[data-board]")) {
    window.vesalius.send(control.dataset.board, figure.dataset.picture);
    window.scrollTo({ top: 0 });
    return;
  }
  // Figures that are to be looked at together say so: <div data-view="linked"> or "together".
  const group = figure.closest("[data-view]");
  const figures = group ? [...group.querySelectorAll(".board-figure")] : [figure];
  const pictures = figures.map((each) => each.dataset.picture);
  if (window.vesalius.view) window.vesalius.view(pictures, { linked: group?.dataset.view === "linked" });
  else window.open(figure.querySelector("img").src, "_blank", "noopener");
});
