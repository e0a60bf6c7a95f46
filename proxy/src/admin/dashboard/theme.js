// Runs before the page is drawn, so that nobody sees the other theme first.
"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const themes = ["light", "dark"];
  const stored = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // a browser that keeps nothing
    }
  };
  let chosen = themes.find((theme) => theme === stored()) || "system";
  // The page has one set of dark colours, whoever wants it dark.
  const show = () => {
    root.dataset.theme = chosen === "system" ? themes[Number(dark.matches)] : chosen;
    document.dispatchEvent(new Event("themechange"));
  };
  show();
  dark.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = chosen;
    select.addEventListener("change", () => {
      chosen = select.value;
      show();
      try {
        localStorage.setItem("theme", chosen);
      } catch {
        // then it holds until the page is left
      }
    });
  });
})();
