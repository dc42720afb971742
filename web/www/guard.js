// A classic script, which runs where modules cannot: it says why the page does not start. Opened from a disk
// (file://), browsers refuse modules, workers and WebAssembly.

(function () {
  var SENTENCES = {
    file: [
      "This page does not run from a file on the disk.",
      "Browsers allow WebAssembly and workers only to pages from a server. In this folder, run “python3 -m http.server”, then open http://localhost:8000. In a checkout of Rekindle, “cargo xtask serve” does it.",
    ],
    script: [
      "A part of this page could not be loaded.",
      "Check the connection and reload. If you host the page, check that the whole folder was copied.",
    ],
    old: ["This browser is too old for this page.", "Chrome, Edge, Firefox and Safari from 2023 on run it."],
  };
  var said = false;

  function say(why) {
    if (said) return;
    said = true;
    var loading = document.getElementById("loading");
    var lead = document.getElementById("look-lead");
    if (loading) loading.hidden = true;
    if (lead) lead.textContent = "It did not start.";
    var box = document.createElement("div");
    box.className = "notice error";
    box.setAttribute("role", "alert");
    var text = document.createElement("div");
    text.className = "notice-text";
    for (var i = 0; i < SENTENCES[why].length; i += 1) {
      var line = document.createElement("p");
      var part = i === 0 ? document.createElement("strong") : line;
      if (i === 0) line.appendChild(part);
      part.textContent = SENTENCES[why][i];
      text.appendChild(line);
    }
    box.appendChild(text);
    document.getElementById("notices").appendChild(box);
  }

  function whenThere(why) {
    if (document.readyState === "loading") {
      document.addEventListener("DOMContentLoaded", function () {
        say(why);
      });
    } else say(why);
  }

  if (location.protocol === "file:") whenThere("file");
  else if (!("noModule" in HTMLScriptElement.prototype)) whenThere("old");
  else {
    // Elements tell of files that did not come by events that do not bubble.
    window.addEventListener(
      "error",
      function (event) {
        if (event.target && event.target.tagName === "SCRIPT") whenThere("script");
      },
      true,
    );
  }
})();
