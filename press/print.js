// The page to print. At once: the contents, the running heads, one tag of the PDF for a piece of code, open what is folded.
for (const chapter of document.querySelectorAll(".chapter")) {
  const style = document.head.appendChild(document.createElement("style")), title = chapter.querySelector("h1").textContent;
  style.textContent = `@page ${chapter.id} { @top-right { content: ${JSON.stringify(title.replace(/\\[()]/g, ""))} } }`;
  chapter.style.page = chapter.id;
  for (const heading of chapter.querySelectorAll("h1, h2")) {
    heading.id = heading.parentElement.id + "-heading";
    const line = document.querySelector("nav").appendChild(document.createElement("a"));
    Object.assign(line, { className: heading.localName, href: `#${heading.id}` });
    line.innerHTML = `<span>${heading.innerHTML}</span><i></i><b></b>`;
  }
}
for (const code of document.querySelectorAll("pre, code")) code.textContent = code.textContent;
for (const folded of document.querySelectorAll("details")) folded.open = true;

// Then: waits until formulas and plots are drawn, gives formulas their TeX as text, makes a picture of a plot in space, shrinks
// what is wider than the page, and says whether every figure is there.
addEventListener("load", async () => {
  await globalThis.MathJax?.startup.promise;
  for (const { math, typesetRoot } of globalThis.MathJax?.startup.document.math ?? []) {
    const drawn = typesetRoot.querySelector("svg");
    drawn.removeAttribute("aria-hidden");
    drawn.setAttribute("aria-label", math);
  }
  await document.fonts.ready;
  for (const plot of document.querySelectorAll(".js-plotly-plot")) {
    await Plotly.redraw(plot);
    plot.ariaHidden = "true"; // the figure about it has a label
    if (!plot.layout.scene) continue;
    const picture = Object.assign(new Image(), { alt: "" });
    const size = { width: plot.clientWidth, height: plot.clientHeight, scale: 2 };
    picture.src = await Plotly.toImage(plot, { ...size, setBackground: "opaque" });
    await picture.decode();
    plot.replaceWith(picture);
  }
  for (const wide of document.querySelectorAll("table, mjx-container[display]")) {
    const room = wide.parentElement.clientWidth, need = Math.max(wide.scrollWidth, wide.offsetWidth);
    if (need > room + 1) wide.style.zoom = room / need;
  }
  const plots = [...document.querySelectorAll(".plotly-graph-div")];
  const drawn = plots.every((plot) => plot.querySelector(".main-svg"));
  globalThis.whole = drawn && [...document.images].every((image) => image.naturalWidth);
});

// Last, after a first print: the pages of the headings, { "/id": number }.
function fillContents(pages) {
  for (const line of document.querySelectorAll("nav a")) line.lastChild.textContent = pages["/" + line.hash.slice(1)];
}
