// What can be done with a row of the tab Compare: look at it side by side, keep it as one picture, put it into a case.
document.addEventListener("click", (event) => {
  const pressed = event.target.closest("[data-compare], .compare-row .board-view");
  const row = pressed && pressed.closest(".compare-row");
  if (!row) return;
  event.stopImmediatePropagation();
  const told = JSON.parse(row.dataset.row), ids = told.map((each) => each.id), labels = told.map((each) => each.label);
  const does = pressed.dataset.compare || "open";
  if (does === "sheet") vesalius.compareSheet(told);
  else if (does === "case") vesalius.send("to_case", ids.join(","));
  else vesalius.view(ids, { linked: true, labels, difference: does === "difference" });
}, true);

// The row as one PNG: the labels stand beside the pictures, never on them, and the file's text says what it is.
vesalius.compareSheet = async (told) => {
  const LABEL = "Synthetic: not for diagnosis", EDGE = 256, GAP = 16, FOOT = 64, COLUMNS = 4;
  const zoom = (image) => Math.max(1, Math.floor(EDGE / image.height));
  const images = await Promise.all(told.map(async ({ id }) => createImageBitmap(await (await fetch(`/pictures/${id}.png`)).blob())));
  const width = Math.max(EDGE, ...images.map((image) => image.width * zoom(image)));
  const height = Math.max(...images.map((image) => image.height * zoom(image)));
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  canvas.width = GAP + (width + GAP) * Math.min(COLUMNS, images.length);
  canvas.height = GAP + (height + FOOT + GAP) * Math.ceil(images.length / COLUMNS);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  Object.assign(context, { imageSmoothingQuality: "high", textBaseline: "top" });
  images.forEach((image, i) => {
    const left = GAP + (width + GAP) * (i % COLUMNS), top = GAP + (height + FOOT + GAP) * Math.floor(i / COLUMNS);
    context.drawImage(image, left, top, image.width * zoom(image), image.height * zoom(image));
    const write = (text, size, weight, colour, down) => {
      Object.assign(context, { font: `${weight} ${size}px system-ui, "Noto Sans CJK SC", sans-serif`, fillStyle: colour });
      context.fillText(text, left, top + height + down, width);
    };
    write(told[i].label, 18, 600, "#111", 6);
    write(vesalius.viewerWords("label"), 14, 600, "#7a1f1f", 30);
    write(vesalius.viewerWords("seed", { seed: told[i].seed }), 12, 400, "#444", 48);
  });
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const facts = { synthetic: true, pictures: told.map(({ label, prompt, seed }) => ({ label, text: prompt, seed })) };
  const file = vesalius.pngWithTexts(new Uint8Array(await blob.arrayBuffer()), { Comment: LABEL, Description: JSON.stringify(facts) });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file.slice(0, file.size, "image/png"));
  link.download = "synthetic-comparison.png";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};

// A PNG with international text chunks after its header (PNG specification, iTXt; checksum of ISO 3309).
vesalius.pngWithTexts = (png, texts) => {
  const checksum = (bytes) => {
    let crc = ~0;
    for (const byte of bytes) {
      crc ^= byte;
      for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
    return ~crc >>> 0;
  };
  const chunks = Object.entries(texts).map(([keyword, text]) => {
    const body = new Uint8Array([...new TextEncoder().encode("iTXt" + keyword), 0, 0, 0, 0, 0, ...new TextEncoder().encode(text)]);
    const chunk = new Uint8Array(body.length + 8), view = new DataView(chunk.buffer);
    view.setUint32(0, body.length - 4);
    chunk.set(body, 4);
    view.setUint32(body.length + 4, checksum(body));
    return chunk;
  });
  const headed = 8 + 25; // the signature and IHDR, which comes first
  return new Blob([png.slice(0, headed), ...chunks, png.slice(headed)]);
};
