// Before anything is drawn: the theme that was chosen last, or the system's. Not a module, for those come later.
"use strict";
(() => {
  let theme = "auto";
  try {
    theme = localStorage.getItem("theme") ?? "auto";
  } catch {} // storage is off: the system's it is
  document.documentElement.dataset.theme = ["light", "dark"].includes(theme) ? theme : "auto";
})();
