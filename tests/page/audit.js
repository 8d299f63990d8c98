// Every text and every mark that is seen, with the contrast of its colour against what is behind it (WCAG 2.2).
(() => {
  const parse = (colour) => {
    const [r, g, b, a = 1] = (colour.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
    return { r, g, b, a: colour === "none" || colour === "transparent" ? 0 : a };
  };
  const luminance = ({ r, g, b }) => {
    const [red, green, blue] = [r, g, b].map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.a === 1) return colour;
      if (colour.a > 0) throw new Error(`a colour that shines through: ${at.outerHTML.slice(0, 80)}`);
    }
    return { r: 255, g: 255, b: 255, a: 1 };
  };
  const low = [];
  let texts = 0;
  let graphics = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("script")) continue;
    const ratio = contrast(parse(getComputedStyle(element).color), behind(element));
    texts += 1;
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)}: text ${walker.currentNode.data.trim().slice(0, 40)}`);
  }
  for (const path of document.querySelectorAll("svg path")) {
    if (!path.checkVisibility()) continue;
    const svg = path.closest("svg");
    const style = getComputedStyle(path);
    const shades = [...svg.querySelectorAll(".shade")].map((shade) => parse(getComputedStyle(shade).fill));
    const own = [style.fill, style.stroke].map(parse).filter((colour) => colour.a > 0);
    graphics += 1;
    for (const ground of [behind(svg), ...shades]) {
      const ratio = Math.max(...own.map((colour) => contrast(colour, ground)));
      if (!(ratio >= 3)) low.push(`${ratio.toFixed(2)}: path ${path.getAttribute("class")}`);
    }
  }
  for (const bar of document.querySelectorAll(".bar")) {
    if (!bar.checkVisibility()) continue;
    graphics += 1;
    const ratio = contrast(parse(getComputedStyle(bar).backgroundColor), behind(bar.parentElement));
    if (ratio < 3) low.push(`${ratio.toFixed(2)}: bar`);
  }
  return { texts, graphics, low: [...new Set(low)] };
})()
