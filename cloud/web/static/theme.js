// Light or dark as the reader's system says. Loaded before the first paint, so that nothing flashes.
"use strict";
{
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const setTheme = () => document.documentElement.setAttribute("data-bs-theme", dark.matches ? "dark" : "light");
  setTheme();
  dark.addEventListener("change", setTheme);
}
