// The camera, shared by everything on the page that wants to see through it.

/** Milliseconds between two looks whether the camera is still there: not every loss is an event. */
const WATCH = 500;

/** @fires Camera#lost with what happened, when the camera has gone: nobody sees through it then */
export class Camera extends EventTarget {
  #stream = null;
  #opening = null;
  #facing = matchMedia("(pointer: coarse)").matches ? "environment" : "user";
  #videos = new Set();

  constructor() {
    super();
    setInterval(() => {
      if (this.#stream?.getVideoTracks().every(({ readyState }) => readyState === "ended")) this.#lose();
    }, WATCH);
  }

  /** Whether the picture should be shown as in a mirror, which is what people expect of a selfie. */
  get mirrored() {
    const facing = this.#stream?.getVideoTracks()[0]?.getSettings().facingMode;
    return (facing ?? this.#facing) === "user";
  }

  /** Shows the camera in a video element. Rejects with a sentence and what to do. */
  async attach(video) {
    this.#videos.add(video);
    try {
      this.#stream ?? (await (this.#opening ??= this.#open()));
      if (!this.#videos.has(video)) return;
      await this.#play(video);
    } catch (error) {
      this.detach(video);
      throw error;
    }
  }

  /** Takes the camera away from a video element; the last one to go switches it off. */
  detach(video) {
    this.#videos.delete(video);
    video.srcObject = null;
    if (this.#videos.size === 0) this.#close();
  }

  /** Changes between the front and the back camera. */
  async flip() {
    this.#facing = this.#facing === "user" ? "environment" : "user";
    this.#close();
    try {
      await (this.#opening = this.#open());
      await Promise.all([...this.#videos].map((video) => this.#play(video)));
    } catch (error) {
      this.#lose(error);
    }
  }

  async #open() {
    try {
      if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("", "SecurityError");
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { facingMode: this.#facing, width: { ideal: 640 }, height: { ideal: 480 } },
      });
      stream.getVideoTracks()[0].addEventListener("ended", () => {
        if (stream === this.#stream) this.#lose();
      });
      if (this.#videos.size === 0) stop(stream);
      else this.#stream = stream;
    } catch (error) {
      throw explain(error);
    } finally {
      this.#opening = null;
    }
  }

  async #play(video) {
    video.srcObject = this.#stream;
    video.classList.toggle("mirrored", this.mirrored);
    try {
      await video.play();
    } catch (error) {
      // A newer picture took this one's place, or the element was taken down meanwhile.
      if (error.name !== "AbortError") throw explain(error);
    }
  }

  #lose(error = LOST) {
    const videos = [...this.#videos];
    this.#videos.clear();
    // An element keeps the last picture otherwise, and somebody would go on looking at it.
    for (const video of videos) video.srcObject = null;
    this.#close();
    this.dispatchEvent(new CustomEvent("lost", { detail: error }));
  }

  #close() {
    if (this.#stream) stop(this.#stream);
    this.#stream = null;
  }
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}

const LOST = Object.assign(new Error("The camera has gone."), {
  help: "It was unplugged, or something else has taken it. Photos taken so far are kept.",
  kind: "camera",
});

const SENTENCES = {
  NotAllowedError: [
    "The camera is not allowed here.",
    "Allow it in the address bar or in the browser's site settings, then try again. Photos work without it.",
  ],
  NotFoundError: ["No camera was found.", "Connect one, or choose photos instead."],
  NotReadableError: [
    "The camera is in use by something else.",
    "Close other programs and tabs that use it, then try again.",
  ],
  SecurityError: [
    "The browser gives the camera only to safe pages.",
    "Open this page over https or from localhost. Photos work without it.",
  ],
};

function explain(error) {
  const [message, help] = SENTENCES[error.name] ?? [
    `The camera did not start: ${error.message || error.name}`,
    "Try again, or choose photos instead.",
  ];
  return Object.assign(new Error(message), { help, kind: "camera" });
}
