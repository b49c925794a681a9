// Run once a plot of show.Interactive is drawn. Its words take the color of the page, also when the reader changes the
// theme, and it takes the width of its box, also when that changes without the window, as by a sidebar that is put away.
const figure = document.getElementById("{plot_id}"), box = figure.parentElement;
const follow = () => {
  const page = getComputedStyle(box), color = page.color;
  const ground = page.getPropertyValue("--pst-color-background").trim() || "#fff";
  Plotly.update(figure, { "textfont.color": color }, { "font.color": color, "hoverlabel.bgcolor": ground });
};
const see = (camera) => {
  const away = box.clientWidth < 500 ? 1.7 : 1; // nearer, a phone would cut the axes' names off
  const eye = Object.fromEntries([..."xyz"].map((axis) => [axis, away * camera.eye[axis]]));
  Plotly.relayout(figure, { "scene.camera": { ...camera, eye } });
};
new MutationObserver(follow).observe(document.documentElement, { attributeFilter: ["data-theme"] });
new ResizeObserver(() => box.clientWidth && Plotly.Plots.resize(figure)).observe(box);
box.addEventListener("wheel", (event) => event.stopPropagation(), { capture: true, passive: true }); // it scrolls the page
box.closest(".hw3-interactive").addEventListener("click", ({ target }) => { // the buttons of pca_space
  if (target.dataset.camera) see(JSON.parse(target.dataset.camera));
});
if (figure.layout.scene) see(figure.layout.scene.camera);
follow();
