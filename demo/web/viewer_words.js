// What the viewer says, in the reader's language.
window.vesalius = window.vesalius || {};
vesalius.viewerWords = (() => {
  const WORDS = {
    label: ["Synthetic: not for diagnosis", "合成图像：不可用于诊断"],
    title: ["Viewer", "图像查看器"], close: ["Close", "关闭"], picture: ["Picture {n}", "图像 {n}"],
    tools: ["Tools", "工具"], drag: ["Dragging", "拖动"], window: ["Window", "窗宽窗位"], contrast: ["Contrast", "对比度"],
    brightness: ["Brightness", "亮度"], pan: ["Move", "平移"], line: ["Line", "测距"], ellipse: ["Area", "测面积"],
    more: ["More", "更多"], zoom: ["Zoom", "缩放"], in: ["Zoom in", "放大"], out: ["Zoom out", "缩小"],
    fit: ["Fit", "适合窗口"], actual: ["1 : 1", "1 : 1"], reset: ["Reset", "复位"], invert: ["Invert", "反相"],
    smooth: ["Smooth", "平滑"], difference: ["Difference from the first", "与第一幅的差异"],
    linked: ["Together", "联动"], clear: ["Clear measures", "清除测量"], keys: ["Keys", "快捷键"],
    level: ["Level", "窗位"], width: ["Width", "窗宽"], presets: ["Windows for CT", "CT 窗"], range: ["Range ±", "范围 ±"],
    lung: ["Lung", "肺窗"], "soft tissue": ["Soft tissue", "软组织窗"], bone: ["Bone", "骨窗"], brain: ["Brain", "脑窗"],
    grey: ["grey levels", "灰度级"], HU: ["HU", "HU"], unknown: ["size of a pixel not known", "像素尺寸未知"],
    mean: ["mean", "均值"], spread: ["SD", "标准差"], to: ["to", "至"],
    lost: ["This picture cannot be shown ({reason})", "无法显示此图像（{reason}）"], loading: ["Loading ...", "加载中……"],
    unlike: ["Of another size, so there is no difference to show", "尺寸不同，无法显示差异"],
    first: ["The first, which the others differ from", "第一幅：其他图像与之比较"],
    seed: ["seed {seed}", "种子 {seed}"],
    scale: ["blue: less than the first · black: the same · orange: more", "蓝色：低于第一幅 · 黑色：相同 · 橙色：高于第一幅"],
    largest: ["largest difference {value}", "最大差异 {value}"], same: ["no difference at all", "完全相同"],
    start: ["Start set; move the cross, then Enter", "已设起点；移动十字后按 Enter"],
    help: [
      "Arrows move (the cross, when measuring; Shift: further) · + − zoom · 0 fit · R reset · W window · P move · " +
        "L line · E area · Enter sets a point · Delete clears · [ ] width · Page Up / Down level · 1 – 4 CT windows · " +
        "I invert · S smooth · D difference · Escape closes. Mouse: wheel zooms, Shift + drag moves. " +
        "Touch: two fingers zoom and move.",
      "方向键平移（测量时移动十字，按住 Shift 加快）· + − 缩放 · 0 适合窗口 · R 复位 · W 窗宽窗位 · P 平移 · L 测距 · E 测面积 · " +
        "Enter 定点 · Delete 清除 · [ ] 窗宽 · Page Up / Down 窗位 · 1 – 4 CT 窗 · I 反相 · S 平滑 · D 差异 · Esc 关闭。" +
        "鼠标：滚轮缩放，Shift + 拖动平移。触屏：双指缩放和平移。",
    ],
  };
  const chinese = (navigator.language || "").toLowerCase().startsWith("zh");
  return (key, values = {}) =>
    Object.entries(values).reduce((text, [name, value]) => text.replace(`{${name}}`, value), WORDS[key][chinese ? 1 : 0]);
})();
