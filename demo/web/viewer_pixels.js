// Pictures as numbers: fetched, windowed to greys, subtracted, measured. Knows no page.
window.vesalius = window.vesalius || {};
vesalius.pixels = (() => {
  // Of `vesalius.data.modality.WINDOWS`: centre and width in Hounsfield units.
  const WINDOWS = { lung: [-600, 1500], "soft tissue": [40, 400], bone: [400, 1800], brain: [40, 80] };
  const COLD = [70, 165, 255], WARM = [255, 140, 40];

  // A picture of the store, or of another address that ends in .png. Its answer says in x-units and x-spacing (mm a
  // pixel) what is known; Hounsfield units lie beside it under .hu, int16 little-endian.
  async function load(src) {
    const answer = await fetch(src);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const bitmap = await createImageBitmap(await answer.blob(), { colorSpaceConversion: "none" });
    const { width: columns, height: rows } = bitmap;
    const canvas = new OffscreenCanvas(columns, rows), context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const rgba = context.getImageData(0, 0, columns, rows).data;
    const picture = { src, rows, columns, rgba, unit: "grey", colour: false, values: new Float32Array(rows * columns) };
    picture.spacing = Number(answer.headers.get("x-spacing")) || null;
    for (let i = 0, j = 0; i < picture.values.length; i++, j += 4) {
      const [r, g, b] = [rgba[j], rgba[j + 1], rgba[j + 2]];
      if (r !== g || g !== b) picture.colour = true;
      picture.values[i] = r === g && g === b ? r : 0.299 * r + 0.587 * g + 0.114 * b; // luma, ITU-R BT.601
    }
    if (answer.headers.get("x-units") === "HU") {
      const units = await fetch(src.replace(/\.png(?=$|\?)/, ".hu"));
      if (!units.ok) throw new Error(`${units.status}`);
      const values = new Int16Array(await units.arrayBuffer());
      if (values.length !== rows * columns) throw new Error("units of another size");
      Object.assign(picture, { unit: "HU", values: Float32Array.from(values), colour: false });
    }
    picture.window = first(picture, answer.headers.get("x-window"));
    return picture;
  }

  // The window that a picture opens with: the one that its prompt names, that of the lung where there is lung.
  function first(picture, named) {
    if (picture.unit !== "HU") return [127.5, 255];
    if (WINDOWS[named]) return WINDOWS[named];
    const lung = picture.values.reduce((n, v) => n + (v > -950 && v < -500), 0);
    return WINDOWS[lung > 0.05 * picture.values.length ? "lung" : "soft tissue"];
  }

  // Greys through a window, as ImageData. `window`: centre and width in the picture's own unit.
  function paint(picture, [centre, width], inverted) {
    const image = new ImageData(picture.columns, picture.rows), out = image.data;
    const low = centre - width / 2, scale = 255 / width;
    const grey = (value) => {
      const shown = Math.max(0, Math.min(255, Math.round((value - low) * scale)));
      return inverted ? 255 - shown : shown;
    };
    for (let i = 0, j = 0; i < picture.values.length; i++, j += 4) {
      if (picture.colour) for (let c = 0; c < 3; c++) out[j + c] = grey(picture.rgba[j + c]);
      else out[j] = out[j + 1] = out[j + 2] = grey(picture.values[i]);
      out[j + 3] = 255;
    }
    return image;
  }

  // What a picture has more than another (values, unit, largest); null where they are of different sizes. In Hounsfield
  // units where both have them, else in grey levels as shown.
  function differ(picture, other) {
    if (picture.rows !== other.rows || picture.columns !== other.columns) return null;
    const both = picture.unit === "HU" && other.unit === "HU";
    const [a, b] = [picture, other].map((p) => (both || p.unit !== "HU" ? p.values : shown(p)));
    const values = a.map((v, i) => v - b[i]);
    const sizes = Float32Array.from(values, Math.abs).sort();
    return {
      values, unit: both ? "HU" : "grey", largest: sizes[sizes.length - 1],
      typical: sizes[Math.floor(0.995 * (sizes.length - 1))], rows: picture.rows, columns: picture.columns,
    };
  }

  const shown = (picture) => Float32Array.from(picture.values, (_, i) => picture.rgba[4 * i]);

  // The next of 1, 2, 5, 10, 20, ... : the range of a colour scale.
  function rounded(value) {
    const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
    return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value) || 10 * power;
  }

  // A signed difference: cold where there is less, warm where there is more, black where nothing differs.
  function paintDifference(difference, range) {
    const image = new ImageData(difference.columns, difference.rows), out = image.data;
    difference.values.forEach((value, i) => {
      const share = Math.min(1, Math.abs(value) / range), hue = value < 0 ? COLD : WARM;
      for (let c = 0; c < 3; c++) out[4 * i + c] = Math.round(hue[c] * share);
      out[4 * i + 3] = 255;
    });
    return image;
  }

  // The value at a place, in shares of width and height; null outside.
  function at(field, x, y) {
    const column = Math.floor(x * field.columns), row = Math.floor(y * field.rows);
    const inside = column >= 0 && row >= 0 && column < field.columns && row < field.rows;
    return inside ? { column, row, value: field.values[row * field.columns + column] } : null;
  }

  // Length of a line, or size and values of an ellipse whose box has two corners a and b: in pixels.
  function measure(field, { kind, a, b }) {
    const dx = (b.x - a.x) * field.columns, dy = (b.y - a.y) * field.rows;
    if (kind === "line") return { length: Math.hypot(dx, dy) };
    const radii = [Math.abs(dx) / 2, Math.abs(dy) / 2];
    const middle = [((a.x + b.x) / 2) * field.columns, ((a.y + b.y) / 2) * field.rows];
    let [num, sum, squares, least, most] = [0, 0, 0, Infinity, -Infinity];
    const from = (i) => Math.max(0, Math.floor(middle[i] - radii[i]));
    for (let row = from(1); row < Math.min(field.rows, middle[1] + radii[1]); row++)
      for (let column = from(0); column < Math.min(field.columns, middle[0] + radii[0]); column++) {
        const [u, v] = [(column + 0.5 - middle[0]) / radii[0], (row + 0.5 - middle[1]) / radii[1]];
        if (!(u * u + v * v <= 1)) continue;
        const value = field.values[row * field.columns + column];
        num++, (sum += value), (squares += value * value), (least = Math.min(least, value)), (most = Math.max(most, value));
      }
    const mean = sum / num;
    return {
      area: Math.PI * radii[0] * radii[1], num, mean, least, most, spread: Math.sqrt(Math.max(0, squares / num - mean * mean)),
    };
  }

  return { WINDOWS, COLD, WARM, load, paint, differ, rounded, paintDifference, at, measure };
})();
