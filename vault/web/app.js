// The plain page: sign in with a session, list the recordings that it opens, play one.
// The session goes to the server once and comes back as a cookie that no script can read; nothing is stored here.

const byId = (id) => document.getElementById(id);

const WORDS = {
  "unauthenticated": "Your session has ended. Please sign in again.",
  "not-found": "This recording is not available.",
  "not-ready": "This recording is still being prepared. Please try again in a few minutes.",
  "too-many-requests": "That was a little fast. Please wait a moment and try again.",
  "unavailable": "The service is busy or being maintained. Please try again in a minute.",
  "listing-stopped": "The list is stopped while an operator looks into a problem. Recordings that you have open go on.",
  "damaged": "This recording is damaged and cannot be played. Please tell your clinic.",
};
const OFFLINE = "The service cannot be reached. Please check your connection and try again.";
const UNKNOWN = "Something went wrong. Please try again.";

class Refused extends Error {
  constructor(code, words) {
    super(words);
    this.code = code;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new Refused("offline", OFFLINE);
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(problem.code ?? "unknown", WORDS[problem.code] ?? UNKNOWN);
}

// What is on screen

function show(room) {
  byId("entrance").hidden = room !== "entrance";
  byId("library").hidden = room !== "library";
  byId("sign-out").hidden = room !== "library";
  byId("status").textContent = "";
}

function say(place, words) {
  const notice = byId(place);
  notice.textContent = words ?? "";
  notice.hidden = !words;
}

function fault(words) {
  say("session-fault", words);
  byId("session").setAttribute("aria-invalid", words ? "true" : "false");
  if (words) byId("session").focus();
}

function enter(words) {
  stop();
  byId("cards").replaceChildren();
  show("entrance");
  say("notice", words);
  byId("session").focus();
}

function report(refused) {
  if (refused.code === "unauthenticated") enter(refused.message);
  else say("notice", refused.message);
}

// The list

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" });

function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, index) => (index ? String(part).padStart(2, "0") : String(part))).join(":");
}

function facts(recording) {
  const when = recording.consulted_at ?? recording.published_at;
  return [recording.clinician, when && day.format(new Date(when))].filter(Boolean).join(" · ");
}

function card(recording) {
  const item = byId("card").content.cloneNode(true).firstElementChild;
  const part = (name) => item.querySelector(name);
  const title = recording.title || "Consultation";
  part(".title").textContent = title;
  part(".facts").textContent = facts(recording);
  part(".length").textContent = recording.duration_s == null ? "" : clock(recording.duration_s);
  part(".length").hidden = recording.duration_s == null;
  if (recording.files.includes("poster.jpg")) {
    const still = part("img");
    still.addEventListener("error", () => { still.hidden = true; });
    still.src = at(recording, "poster.jpg");
    still.hidden = false;
  }
  part("button").addEventListener("click", () => play(recording));
  return item;
}

const at = (recording, file) => `/v1/recordings/${encodeURIComponent(recording.id)}/${file}`;

let cursor = null;

async function list({ older = false } = {}) {
  const query = older && cursor ? `?cursor=${encodeURIComponent(cursor)}` : "";
  const page = await ask(`/v1/recordings${query}`);
  const cards = page.recordings.map(card);
  if (older) byId("cards").append(...cards);
  else byId("cards").replaceChildren(...cards);
  cursor = page.next;
  byId("more").hidden = !cursor;
  byId("empty").hidden = byId("cards").childElementCount > 0;
  show("library");
  say("notice", null);
  return cards;
}

// The player: hls.js first, because it plays the same in every browser; the browser's own HLS where hls.js cannot run

let hls = null;

function play(recording) {
  const player = byId("player");
  byId("theatre-title").textContent = recording.title || "Consultation";
  byId("theatre-facts").textContent = facts(recording);
  say("theatre-notice", null);
  player.classList.toggle("sound-only", !recording.has_video);
  if (recording.files.includes("poster.jpg")) player.poster = at(recording, "poster.jpg");
  byId("theatre").showModal();
  start(player, at(recording, "master.m3u8"));
}

function start(player, address) {
  const Hls = window.Hls;
  if (Hls?.isSupported()) {
    // No worker: our segments need no remuxing, and without one the page's policy can forbid workers altogether.
    hls = new Hls({ enableWorker: false, capLevelToPlayerSize: true, backBufferLength: 60 });
    hls.on(Hls.Events.ERROR, onTrouble(Hls));
    hls.loadSource(address);
    hls.attachMedia(player);
  } else if (player.canPlayType("application/vnd.apple.mpegurl")) {
    player.src = address;
  } else {
    say("theatre-notice", "This browser cannot play the recording. Please try a current version of another one.");
    return;
  }
  player.play().catch(() => { /* the browser wants a click first: the controls are there */ });
}

function onTrouble(Hls) {
  let recovered = false;
  return (_, trouble) => {
    if (!trouble.fatal) return;
    if (trouble.type === Hls.ErrorTypes.MEDIA_ERROR && !recovered) {
      recovered = true;
      hls.recoverMediaError();
      return;
    }
    const status = trouble.response?.code;
    if (status === 401) {
      enter(WORDS["unauthenticated"]);
      return;
    }
    const words = { 404: WORDS["not-found"], 502: WORDS["damaged"], 503: WORDS["unavailable"] };
    const network = trouble.type === Hls.ErrorTypes.NETWORK_ERROR;
    say("theatre-notice", words[status] ?? (network ? OFFLINE : UNKNOWN));
  };
}

function stop() {
  hls?.destroy();
  hls = null;
  const player = byId("player");
  player.pause();
  player.removeAttribute("src");
  player.removeAttribute("poster");
  player.load();
  if (byId("theatre").open) byId("theatre").close();
}

// What people do

byId("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("session");
  const button = event.target.querySelector("button");
  const session = field.value.trim();
  if (!session.startsWith("rvs_")) {
    fault(session ? "That is not a session. It should start with rvs_." : "Please paste your session first.");
    return;
  }
  fault(null);
  button.disabled = true;
  try {
    await ask("/v1/sign-in", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ session }),
    });
    field.value = "";
    await list();
    byId("library-title").focus();
  } catch (refused) {
    const wrong = ["unauthenticated", "invalid-body"].includes(refused.code);
    fault(wrong ? "This session does not open anything. It may have ended: please ask for a new one." : refused.message);
  } finally {
    button.disabled = false;
  }
});

byId("sign-out").addEventListener("click", async () => {
  try {
    await ask("/v1/sign-out", { method: "POST" });
    enter(null);
  } catch (refused) {
    report(refused);
  }
});

byId("more").addEventListener("click", async (event) => {
  event.target.disabled = true;
  try {
    const [first] = await list({ older: true });
    first?.querySelector("button").focus();
  } catch (refused) {
    report(refused);
  } finally {
    event.target.disabled = false;
  }
});

byId("leave").addEventListener("click", stop);
byId("theatre").addEventListener("close", () => { if (!byId("theatre").open) stop(); });
byId("theatre").addEventListener("click", (event) => {
  if (event.target === byId("theatre")) stop();
});
byId("player").addEventListener("error", () => {
  if (!hls && byId("player").hasAttribute("src")) say("theatre-notice", UNKNOWN);
});

list().catch((refused) => {
  if (refused.code === "unauthenticated") enter(null);
  else {
    byId("status").textContent = "";
    report(refused);
  }
});
