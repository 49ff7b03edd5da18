"use strict";
// Runs before anything is painted, so that a chosen theme does not flash.
{
  let chosen = null;
  try { chosen = localStorage.getItem("carillon-theme"); } catch { /* storage is off */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
