// The theme asks what can be scrolled, and must be reached by keyboard, when the window's size
// changes. The page's may go on changing after that, as the sidebar slides. And paper is light.
addEventListener("DOMContentLoaded", () => {
  const main = document.querySelector("main");
  let width = main.offsetWidth;
  new ResizeObserver(() => {
    const before = width;
    width = main.offsetWidth;
    if (before !== width) dispatchEvent(new Event("resize"));
  }).observe(main);
});
const root = document.documentElement.dataset;
let theme;
addEventListener("beforeprint", () => { theme = root.theme; root.theme = "light"; });
addEventListener("afterprint", () => { root.theme = theme; });
