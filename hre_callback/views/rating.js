"use strict";
// One person ranks answers. The state is what was done, question by question, and the draft of the question at hand; all
// that is shown follows from it, so that a reload, a second tab and an undo come to the same.
(() => {
  const by = (id) => document.getElementById(id);
  const page = JSON.parse(by("data").textContent);
  const questions = new Map(page.questions.map((question) => [question.id, question]));
  let rater = "";
  let order = [];
  let state = { done: [], draft: [] };
  let unsaved = false;

  // ---- order: a hash of seed, person and question, the same after a reload and on any device ----

  function hash(text) {
    let h = 2166136261;
    for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 16777619);
    h = Math.imul(h ^ (h >>> 16), 2246822507);
    h = Math.imul(h ^ (h >>> 13), 3266489909);
    return (h ^ (h >>> 16)) >>> 0;
  }

  function drawn(items, salt) {
    const keyed = items.map((item) => [hash(JSON.stringify([page.seed, rater, salt, item])), item]);
    keyed.sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : 1));
    return keyed.map(([, item]) => item);
  }

  const shownOf = (id) => drawn(questions.get(id).answers.map((answer) => answer.key), id);

  // ---- progress, kept where the browser lets us ----

  const storage = (() => {
    try {
      const found = window.localStorage;
      found.setItem("hre rate", "1");
      found.removeItem("hre rate");
      return found;
    } catch {
      return null;
    }
  })();
  const asked = hash(page.questions.map((question) => question.id).join("\n"));
  const keyOf = (name) => `hre rate ${page.fingerprint} ${page.seed} ${asked} ${name}`;
  let kept = storage !== null;

  function keep() {
    unsaved = true;
    try {
      if (storage) storage.setItem(keyOf(rater), JSON.stringify(state));
    } catch {
      kept = false;
    }
    warn();
  }

  function recall() {
    const fresh = { done: [], draft: [] };
    const text = storage && storage.getItem(keyOf(rater));
    if (!text) return fresh;
    try {
      const found = JSON.parse(text);
      if (found.done.every(isRanked) && found.draft.every((set) => isSet(set, order[found.done.length]))) return found;
    } catch {
      // Not ours to read: put aside below.
    }
    storage.setItem(`${keyOf(rater)} damaged`, text);
    say("What was kept of you in this browser cannot be read. You begin anew.");
    return fresh;
  }

  function isRanked(one, at) {
    if (one.id !== order[at] || JSON.stringify(one.shown) !== JSON.stringify(shownOf(one.id))) return false;
    if (one.skipped === true) return true;
    return one.places.length === one.shown.length && one.places.every((place) => isPlace(place, one.shown.length));
  }

  const isPlace = (place, count) => Number.isInteger(place) && place >= 1 && place <= count;
  const isSet = ([key, place], id) => shownOf(id).includes(key) && isPlace(place, shownOf(id).length);

  function warn() {
    by("warning").textContent = kept ? "" : "This browser keeps nothing: save the file before you close the page.";
  }

  // ---- what the person does ----

  const current = () => order[state.done.length];
  const places = () => new Map(state.draft);
  const letter = (at) => (at < 26 ? String.fromCharCode(65 + at) : String(at + 1));

  function put(key, place) {
    state.draft.push([key, place]);
    keep();
    mark();
    const shown = shownOf(current());
    const left = shown.length - places().size;
    const rest = left ? `${left} to go.` : "All placed.";
    say(`Answer ${letter(shown.indexOf(key))}: place ${place}. ${rest}`);
  }

  function next() {
    const shown = shownOf(current());
    const placed = places();
    const missing = shown.findIndex((key) => !placed.has(key));
    if (missing >= 0) {
      say(`Answer ${letter(missing)} has no place yet. Give it one, or skip the question.`);
      focusOn(missing);
      return;
    }
    finish({ id: current(), shown, places: shown.map((key) => placed.get(key)) });
  }

  const skip = () => finish({ id: current(), shown: shownOf(current()), skipped: true });

  function finish(one) {
    state = { done: [...state.done, one], draft: [] };
    keep();
    say(one.skipped ? "Skipped." : "");
    show();
  }

  function undo() {
    if (state.draft.length) {
      const [key] = state.draft.pop();
      keep();
      mark();
      const at = shownOf(current()).indexOf(key);
      say(`Taken back: answer ${letter(at)}.`);
      focusOn(at);
    } else if (state.done.length) {
      const last = state.done.pop();
      state.draft = last.skipped ? [] : last.shown.map((key, at) => [key, last.places[at]]);
      keep();
      say("Back at the question before.");
      show();
    } else {
      say("There is nothing to take back.");
    }
  }

  function save() {
    const { kind, version, fingerprint, seed } = page;
    const file = { kind, version, fingerprint, rater, seed, ratings: state.done };
    const name = rater.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], { type: "application/json" }));
    link.download = name ? `ratings-${name}.json` : "ratings.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    unsaved = false;
    say(`${link.download}: ${counted()}.`);
  }

  function counted() {
    const skipped = state.done.filter((one) => one.skipped).length;
    return `${state.done.length - skipped} of ${order.length} ranked, ${skipped} skipped`;
  }

  // ---- what the person sees ----

  // One a section: a reader of the screen hears the one that is shown.
  const say = (words) => {
    for (const one of document.querySelectorAll(".status")) one.textContent = words;
  };

  function show() {
    const over = state.done.length >= order.length;
    by("start").hidden = true;
    by("ranking").hidden = over;
    by("end").hidden = !over;
    if (over) by("sum").textContent = `${rater}: ${counted()}.`;
    else fill(questions.get(current()));
    window.scrollTo(0, 0);
    by(over ? "end-title" : "title").focus();
  }

  function fill(question) {
    by("title").textContent = `Question ${state.done.length + 1} of ${order.length}`;
    by("progress").max = order.length;
    by("progress").value = state.done.length;
    by("topic").textContent = question.topic;
    by("question").replaceChildren(...question.turns.map(turn));
    const texts = new Map(question.answers.map((answer) => [answer.key, answer.text]));
    by("answers").replaceChildren(...shownOf(question.id).map((key, at, all) => card(key, at, all.length, texts.get(key))));
    mark();
  }

  function turn({ role, text }) {
    const made = by("turn").content.cloneNode(true).firstElementChild;
    made.querySelector(".role").textContent = role;
    made.querySelector(".role").hidden = !role;
    made.querySelector(".words").textContent = text;
    return made;
  }

  function card(key, at, count, text) {
    const made = by("answer").content.cloneNode(true).firstElementChild;
    made.dataset.key = key;
    made.querySelector("legend").textContent = `Answer ${letter(at)}`;
    made.querySelector(".words").textContent = text;
    for (let place = 1; place <= count; place++) {
      const choice = by("place").content.cloneNode(true).firstElementChild;
      const radio = choice.querySelector("input");
      radio.name = `place of ${key}`;
      radio.value = place;
      radio.setAttribute("aria-label", `place ${place}`);
      radio.addEventListener("change", () => put(key, place));
      choice.querySelector("span").textContent = place;
      made.querySelector(".places").append(choice);
    }
    return made;
  }

  const cards = () => [...by("answers").children];

  function mark() {
    const placed = places();
    for (const one of cards()) {
      const place = placed.get(one.dataset.key);
      one.classList.toggle("placed", place !== undefined);
      for (const radio of one.querySelectorAll("input")) radio.checked = Number(radio.value) === place;
    }
  }

  function focusOn(at) {
    const one = cards()[at];
    (one.querySelector("input:checked") || one.querySelector("input")).focus();
  }

  // ---- keys: only while the focus is in the form, so that nothing else of a browser or a screen reader is taken ----

  function digit(place) {
    const placed = places();
    const all = cards();
    const free = (from) => all.findIndex((one, at) => at >= from && !placed.has(one.dataset.key));
    const inFocus = all.findIndex((one) => one.contains(document.activeElement));
    const at = inFocus >= 0 ? inFocus : Math.max(free(0), 0);
    put(all[at].dataset.key, place);
    placed.set(all[at].dataset.key, place);
    const to = free(at) >= 0 ? free(at) : free(0);
    if (to >= 0) focusOn(to);
    else by("next").focus();
  }

  function onKey(event) {
    const { key, target } = event;
    if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    // A key that is held down is pressed once.
    if (event.repeat && key !== "Tab" && !key.startsWith("Arrow")) return event.preventDefault();
    const place = /^[1-9]$/.test(key) ? Number(key) : 0;
    if (place && place <= cards().length) digit(place);
    else if (key.toLowerCase() === "s") skip();
    else if (key.toLowerCase() === "u" || key === "Backspace") undo();
    else if (key === "Enter" && !target.closest("button, summary")) next();
    else return;
    event.preventDefault();
  }

  function begin(event) {
    event.preventDefault();
    rater = by("rater").value.normalize("NFC").trim().replace(/\s+/g, " ");
    if (!rater) {
      say("Please give a name that is not blank.");
      by("rater").focus();
      return;
    }
    say("");
    order = drawn([...questions.keys()], "");
    state = recall();
    try {
      if (storage) storage.setItem("hre rate name", rater);
    } catch {
      kept = false;
    }
    warn();
    show();
  }

  by("who").addEventListener("submit", begin);
  by("ranking").addEventListener("submit", (event) => {
    event.preventDefault();
    next();
  });
  by("ranking").addEventListener("keydown", onKey);
  by("skip").addEventListener("click", skip);
  by("undo").addEventListener("click", undo);
  by("back").addEventListener("click", undo);
  for (const button of document.querySelectorAll(".save")) button.addEventListener("click", save);
  // The same person in a second tab: this one follows.
  window.addEventListener("storage", (event) => {
    if (!rater || event.key !== keyOf(rater)) return;
    state = recall();
    show();
  });
  window.addEventListener("beforeunload", (event) => {
    if (unsaved && !kept) event.preventDefault();
  });
  by("rater").value = (storage && storage.getItem("hre rate name")) || "";
  by("page").hidden = false;
})();
