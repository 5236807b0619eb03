// One pane of the viewer on its canvas: where the picture lies, the picture, and what was measured on it.
window.vesalius = window.vesalius || {};
vesalius.viewerDraw = (() => {
  const say = (...words) => vesalius.viewerWords(...words), pixels = () => vesalius.pixels;
  const INK = "#ffe14d";

  // Where the picture lies on the canvas: device pixels a pixel, and its upper left corner.
  function place(pane) {
    const { canvas, picture, view } = pane;
    const fit = Math.min(canvas.width / picture.columns, canvas.height / picture.rows);
    const scale = fit * view.zoom;
    return {
      fit, scale, left: canvas.width / 2 - view.x * picture.columns * scale,
      top: canvas.height / 2 - view.y * picture.rows * scale,
    };
  }

  // A place of the page, in shares of the picture's width and height.
  function under(pane, event) {
    const box = pane.canvas.getBoundingClientRect(), ratio = pane.canvas.width / box.width, { scale, left, top } = place(pane);
    return {
      x: ((event.clientX - box.left) * ratio - left) / scale / pane.picture.columns,
      y: ((event.clientY - box.top) * ratio - top) / scale / pane.picture.rows,
    };
  }

  const field = (pane) => pane.difference || pane.picture;
  const unit = (pane) => say(field(pane).unit);
  const sign = (pane, value) => (pane.difference && value > 0 ? "+" : "") + `${Math.round(value)}`.replace("-", "−");
  const windowOf = (pane) => (pane.picture.unit === "HU" ? pane.view.units : pane.view.greys);

  // The picture through its window, painted anew only when something of that changed.
  function painted(pane, range) {
    const key = JSON.stringify([pane.difference ? range : windowOf(pane), pane.view.inverted, !!pane.difference]);
    if (pane.key !== key) {
      const image = pane.difference
        ? pixels().paintDifference(pane.difference, range)
        : pixels().paint(pane.picture, windowOf(pane), pane.view.inverted);
      pane.layer = pane.layer || new OffscreenCanvas(pane.picture.columns, pane.picture.rows);
      pane.layer.getContext("2d").putImageData(image, 0, 0);
      pane.key = key;
    }
    return pane.layer;
  }

  function draw(pane, { range, smooth, cross, pending }) {
    const { canvas, stage } = pane, ratio = window.devicePixelRatio || 1;
    const [width, height] = [stage.clientWidth, stage.clientHeight].map((n) => Math.max(1, Math.round(n * ratio)));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (!pane.picture) return;
    const { scale, left, top } = place(pane), { columns, rows } = pane.picture;
    context.imageSmoothingEnabled = smooth;
    context.imageSmoothingQuality = "high";
    context.drawImage(painted(pane, range), left, top, columns * scale, rows * scale);
    const spot = ({ x, y }) => [left + x * columns * scale, top + y * rows * scale];
    const shapes = pending ? [...pane.view.shapes, pending] : pane.view.shapes;
    shapes.forEach((shape, i) => outline(context, shape, spot, ratio, `${i + 1}`));
    if (cross) {
      const [x, y] = spot(cross), arm = 9 * ratio, gap = 3 * ratio;
      stroke(context, ratio, () => {
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          context.moveTo(x + dx * gap, y + dy * gap);
          context.lineTo(x + dx * arm, y + dy * arm);
        }
      });
    }
    ruler(context, pane, scale, ratio);
  }

  // Twice, dark below light, so that it is seen on any grey.
  function stroke(context, ratio, path) {
    for (const [style, thick] of [["#000", 3.5], [INK, 1.5]]) {
      context.beginPath();
      path();
      Object.assign(context, { strokeStyle: style, lineWidth: thick * ratio });
      context.stroke();
    }
  }

  function write(context, text, x, y, ratio) {
    context.font = `600 ${12 * ratio}px system-ui, sans-serif`;
    Object.assign(context, { lineWidth: 3 * ratio, strokeStyle: "#000", fillStyle: INK, lineJoin: "round" });
    context.strokeText(text, x, y);
    context.fillText(text, x, y);
  }

  function outline(context, { kind, a, b }, spot, ratio, name) {
    const [x, y] = spot(a), [u, v] = spot(b);
    stroke(context, ratio, () => {
      if (kind === "line") context.moveTo(x, y), context.lineTo(u, v);
      else context.ellipse((x + u) / 2, (y + v) / 2, Math.abs(u - x) / 2, Math.abs(v - y) / 2, 0, 0, 2 * Math.PI);
    });
    write(context, name, Math.max(x, u) + 5 * ratio, Math.max(y, v) - 2 * ratio, ratio);
  }

  // A scale bar of a round number of millimetres, where a pixel's size is known.
  function ruler(context, pane, scale, ratio) {
    if (!pane.picture.spacing) return;
    const most = (pane.canvas.width * 0.3 * pane.picture.spacing) / scale;
    const mm = [200, 100, 50, 20, 10, 5, 2, 1].find((n) => n <= most);
    if (!mm) return;
    const length = (mm / pane.picture.spacing) * scale, x = 12 * ratio, y = pane.canvas.height - 12 * ratio, end = 4 * ratio;
    stroke(context, ratio, () => {
      for (const each of [x, x + length]) context.moveTo(each, y - end), context.lineTo(each, y + end);
      context.moveTo(x, y);
      context.lineTo(x + length, y);
    });
    write(context, `${mm} mm`, x + 4 * ratio, y - 7 * ratio, ratio);
  }

  // What was measured, in words: in millimetres where a pixel's size is known, and else saying that it is not.
  function told(pane, shape, number) {
    const found = pixels().measure(field(pane), shape), mm = pane.picture.spacing;
    if (shape.kind === "line") {
      const length = mm ? `${(found.length * mm).toFixed(1)} mm` : `${found.length.toFixed(1)} px (${say("unknown")})`;
      return `${number}. ${say("line")}: ${length}`;
    }
    const area = mm ? `${(found.area * mm * mm).toFixed(0)} mm²` : `${found.area.toFixed(0)} px² (${say("unknown")})`;
    const values = found.num
      ? `, ${say("mean")} ${sign(pane, found.mean)} ${unit(pane)}, ${say("spread")} ${found.spread.toFixed(0)}, ` +
        `${sign(pane, found.least)} ${say("to")} ${sign(pane, found.most)}`
      : "";
    return `${number}. ${say("ellipse")}: ${area}${values}`;
  }

  // The value under the cross, the window, and the magnification.
  function reading(pane, cross) {
    const found = cross && pixels().at(field(pane), cross.x, cross.y);
    const [centre, width] = windowOf(pane).map(Math.round);
    const shown = pane.picture.unit === "HU" ? `W ${width} L ${`${centre}`.replace("-", "−")}` : "";
    const percent = Math.round((100 * place(pane).scale) / (window.devicePixelRatio || 1));
    return [
      found ? `${sign(pane, found.value)} ${unit(pane)} (${found.column}, ${found.row})` : "", pane.difference ? "" : shown,
      `${percent} %`,
    ].filter(Boolean).join(" · ");
  }

  return { place, under, draw, told, reading, windowOf };
})();
