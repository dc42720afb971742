// The page's broken promises, one test a fault, with a fake engine whose pace the tests choose: who a class is, what
// waits for what, and errors that must not leave anybody alone.

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { describe, test } from "node:test";
import {
  answers,
  classify,
  PHOTOS,
  photosOf,
  ready,
  teach,
} from "./helpers/browser.mjs";
import { browser, onPage, server } from "./helpers/fake-page.mjs";

/** Runs a function in the page with a `Rekindle` of its own, beside the page's, and a few helpers. */
async function withApi(page, body) {
  const given = async (body) => {
    const { Rekindle } = await import("./rekindle.js");
    const rekindle = await Rekindle.start({ device: "cpu" });
    await rekindle.load("models/squeezenet1_1.safetensors");
    const picture = (red, green, blue) => {
      const image = new ImageData(32, 32);
      for (let i = 0; i < image.data.length; i += 4) image.data.set([red, green, blue, 255], i);
      return image;
    };
    const tools = {
      rekindle,
      red: (i = 0) => picture(200 + i, 10, 10 + i),
      green: (i = 0) => picture(10 + i, 200 + i, 10),
      blue: (i = 0) => picture(10, 10 + i, 200 + i),
      /** Classes by name with three photos each. */
      async taught(colours) {
        const ids = {};
        for (const [name, paint] of Object.entries(colours)) {
          ids[name] = await rekindle.addClass(name);
          for (let i = 0; i < 3; i += 1) await rekindle.addExample(ids[name], paint(i));
        }
        return ids;
      },
      /** Sets the pace of every engine there is. */
      async pace(settings) {
        const channel = new BroadcastChannel("fake");
        channel.postMessage(settings);
        await new Promise((resolve) => setTimeout(resolve, 100));
        channel.close();
      },
      /** The kind of error a call ends with, or what it answers. */
      kindOf: (call) => call.then((value) => ({ value }), ({ kind, help }) => ({ kind, help: Boolean(help) })),
    };
    try {
      return await body(tools);
    } finally {
      rekindle.close();
    }
  };
  // As a text: the page's policy forbids it to evaluate one itself.
  return page.evaluate(`(${given})(${body})`);
}

/** Sets the pace of the engine that the page itself uses. */
const pace = (page, settings) =>
  page.workers()[0].evaluate((settings) => Object.assign(self.fake, settings), settings);

const cardNames = (page) => page.$$eval(".class-name", (inputs) => inputs.map((input) => input.value));
const twoClasses = async (count) => [
  { name: "windmill", files: await photosOf("windmill", count) },
  { name: "fish", files: await photosOf("fish", count) },
];

describe("who a class is", () => {
  test("a head answers with the classes it was fitted on, whatever is deleted, added and renamed since", async () => {
    await onPage({}, async (page) => {
      const found = await withApi(page, async ({ rekindle, red, green, blue, taught }) => {
        const { A, B } = await taught({ A: red, B: green, C: blue });
        await rekindle.fit();
        await rekindle.removeClass(A);
        const gone = { info: rekindle.info, answers: await rekindle.classify(green(9)) };
        const C2 = await rekindle.addClass("D");
        await rekindle.renameClass(C2, "E");
        const renamed = await rekindle.classify(green(9));
        await rekindle.removeClass(C2);
        await rekindle.fit();
        await rekindle.renameClass(B, "B2");
        return { gone, renamed, B, after: await rekindle.classify(green(9)), classes: rekindle.info.classes };
      });
      // The head knew A: it has gone with it, and the network's own is back.
      assert.equal(found.gone.info.head, "original");
      assert.equal(found.gone.info.classIds, null);
      for (const answer of [...found.gone.answers, ...found.renamed]) {
        assert.ok(!["A", "B", "C", "D", "E"].includes(answer.class), answer.class);
        assert.equal(answer.id, null);
      }
      assert.equal(found.after[0].class, "B2");
      assert.equal(found.after[0].id, found.B);
      assert.deepEqual(found.classes, ["B2", "C"]);
    });
  });

  test("the page neither shows nor saves a head whose class was deleted", async () => {
    await onPage({}, async (page) => {
      await teach(page, await twoClasses(3));
      assert.equal(await page.locator("#save-model").isDisabled(), false);
      await page.locator(".class-card").first().getByRole("button", { name: "Delete this class" }).click();
      await page.click("#confirm-yes");
      await page.waitForFunction(() => document.querySelectorAll(".class-card").length === 1);
      await page.waitForFunction(() => document.querySelector("#save-model").disabled);
      assert.match(await page.locator("#look-lead").textContent(), /its own 8 classes/);
      assert.equal(await page.locator("#fit-report").isVisible(), false);
      assert.match(await page.locator("#fit-status").textContent(), /at least two classes/);
      // A new class that takes the old one's place is no class the head knew.
      await page.click("#add-class");
      const names = page.getByLabel("Class name");
      await names.nth(1).fill("comet");
      await names.nth(1).press("Enter");
      await page.waitForTimeout(500);
      const rows = await answers(page);
      assert.ok(rows.every((row) => !["windmill", "fish", "comet"].includes(row.class)));
    });
  });

  test("ids of classes and photos that have gone are never given again, not even after another network", async () => {
    await onPage({}, async (page) => {
      const found = await withApi(page, async ({ rekindle, red, green, taught, kindOf }) => {
        const before = await taught({ A: red, B: green });
        await rekindle.load("models/efficientnet_lite0.safetensors");
        const stale = await kindOf(rekindle.addExample(before.A, red()));
        return { before, stale, after: await taught({ A: red, B: green }), told: rekindle.taught };
      });
      assert.equal(found.stale.kind, "usage");
      const ids = [...Object.values(found.before), ...Object.values(found.after)];
      assert.equal(new Set(ids).size, 4);
      assert.deepEqual(
        found.told.map(({ name, examples }) => [name, examples]),
        [["A", 3], ["B", 3]],
      );
    });
  });

  test("a name that is empty, taken or no text is refused, and the session lives on", async () => {
    await onPage({}, async (page) => {
      const found = await withApi(page, async ({ rekindle, red, kindOf }) => {
        const id = await rekindle.addClass("  mug ");
        const wrong = {};
        for (const name of [5, null, undefined, {}, [], "", "  ", "mug", " mug", "cafe\u0301"]) {
          if (name === "cafe\u0301") await rekindle.addClass("caf\u00e9");
          wrong[`${JSON.stringify(name)}`] = await kindOf(rekindle.addClass(name));
        }
        const other = await rekindle.addClass("cup");
        for (const name of [5, "", "mug"]) {
          wrong[`rename ${JSON.stringify(name)}`] = await kindOf(rekindle.renameClass(other, name));
        }
        for (const classId of ["x", -1, 1.5, null, 99]) {
          wrong[`class ${classId}`] = await kindOf(rekindle.addExample(classId, red()));
          wrong[`remove class ${classId}`] = await kindOf(rekindle.removeClass(classId));
          wrong[`remove example ${classId}`] = await kindOf(rekindle.removeExample(classId));
        }
        wrong.topK = await kindOf(rekindle.classify(red(), 0));
        wrong.classWeights = await kindOf(rekindle.fit({ classWeights: "some" }));
        wrong.c = await kindOf(rekindle.fit({ c: -1 }));
        wrong.seed = await kindOf(rekindle.fit({ seed: 1.5 }));
        wrong.option = await kindOf(rekindle.fit({ classWeight: "balanced" }));
        wrong.options = await kindOf(rekindle.fit(5));
        wrong.model = await kindOf(rekindle.load(5));
        return { wrong, classes: await rekindle.classes(), id };
      });
      for (const [what, { kind, help }] of Object.entries(found.wrong)) {
        assert.equal(kind, "usage", what);
        assert.ok(help, what);
      }
      assert.deepEqual(
        found.classes.map(({ name }) => name),
        ["mug", "caf\u00e9", "cup"],
      );
    });
  });

  test("folders named alike but for Unicode's forms are one class", async () => {
    await onPage({}, async (page) => {
      await page.evaluate(async () => {
        const files = [];
        for (const [folder, photo] of [["Caf\u00e9", "owl"], ["Cafe\u0301", "koala"]]) {
          const content = await (await fetch(`samples/animal/${photo}.webp`)).blob();
          const file = new File([content], `${photo}.webp`, { type: "image/webp" });
          Object.defineProperty(file, "webkitRelativePath", { value: `all/${folder}/${photo}.webp` });
          files.push(file);
        }
        const input = document.querySelector("#teach-folder");
        Object.defineProperty(input, "files", { value: files });
        input.dispatchEvent(new Event("change"));
      });
      await page.locator(".class-count", { hasText: "2 photos" }).waitFor();
      assert.deepEqual(await cardNames(page), ["Caf\u00e9"]);
    });
  });
});

describe("what waits for what", () => {
  test("the head comes first, the folds after it are counted, and answers go on between their pieces", async () => {
    await onPage({}, async (page) => {
      const found = await withApi(page, async ({ rekindle, red, green, taught, pace }) => {
        await taught({ A: red, B: green });
        await pace({ step: 2 });
        const report = await rekindle.fit();
        const told = [];
        let measured = false;
        const measuring = rekindle
          .crossValidate({ onProgress: (done, total) => told.push([done, total]) })
          .finally(() => (measured = true));
        let count = 0;
        while (!measured) {
          await rekindle.classify(red());
          count += 1;
        }
        return { report, told, count, measured: await measuring };
      });
      assert.equal(found.report.trainAccuracy, 1);
      assert.equal("crossValidation" in found.report, false);
      assert.equal(found.measured.folds, 3);
      assert.equal(found.measured.accuracy, 1);
      assert.ok(found.count > 2, `${found.count} answers while it was measured`);
      assert.deepEqual(found.told[0], [0, 3]);
      assert.ok(found.told.every(([done, total], i) => total === 3 && done >= (found.told[i - 1]?.[0] ?? 0)));
    });
  });

  test("an answer overtakes a fit and photos that were asked for before it", async () => {
    await onPage({}, async (page) => {
      const order = await withApi(page, async ({ rekindle, red, green, taught }) => {
        const { A } = await taught({ A: red, B: green });
        const order = [];
        const note = (what) => () => order.push(what);
        const all = [];
        for (let i = 0; i < 6; i += 1) all.push(rekindle.addExample(A, red(i)).then(note("photo")));
        all.push(rekindle.fit().then(note("fit")));
        all.push(rekindle.classify(red(), 1, { background: true }).then(note("later")));
        all.push(rekindle.classify(red()).then(note("answer")));
        await Promise.all(all);
        return order;
      });
      assert.ok(order.indexOf("answer") <= 2, `${order}`);
      assert.deepEqual(order.filter((what) => what !== "answer").slice(-2), ["fit", "later"]);
    });
  });

  test("an answer does not overtake another network, a new name or a class that goes", async () => {
    await onPage({}, async (page) => {
      const found = await withApi(page, async ({ rekindle, red, green, taught }) => {
        const { A } = await taught({ A: red, B: green });
        await rekindle.fit();
        const renaming = rekindle.renameClass(A, "Z");
        const renamed = await rekindle.classify(red());
        await renaming;
        const removing = rekindle.removeClass(A);
        const removed = await rekindle.classify(red());
        await removing;
        return { renamed: renamed[0].class, removed: removed[0].id };
      });
      assert.deepEqual(found, { renamed: "Z", removed: null });
    });
  });

  test("a change calls the measurement off, and a signal calls off a fit without harm", async () => {
    await onPage({}, async (page) => {
      const found = await withApi(page, async ({ rekindle, red, green, taught, kindOf, pace }) => {
        const { A } = await taught({ A: red, B: green });
        await rekindle.fit();
        await pace({ step: 5 });
        const measuring = kindOf(rekindle.crossValidate());
        await rekindle.addExample(A, red(7));
        const stop = new AbortController();
        const before = rekindle.info.revision;
        const fitting = kindOf(rekindle.fit({ signal: stop.signal }));
        stop.abort();
        const stopped = await fitting;
        const photo = kindOf(rekindle.classify(red(), 2, { signal: AbortSignal.abort() }));
        return {
          measured: (await measuring).kind,
          stopped: stopped.kind,
          photo: (await photo).kind,
          sameHead: rekindle.info.revision === before,
          again: (await rekindle.fit()).trainAccuracy,
        };
      });
      assert.deepEqual(found, {
        measured: "cancelled",
        stopped: "cancelled",
        photo: "cancelled",
        sameHead: true,
        again: 1,
      });
    });
  });

  test("a new name fits nothing; it is answered with at once", async () => {
    await onPage({}, async (page) => {
      await teach(page, await twoClasses(3));
      await answers(page);
      await page.workers()[0].evaluate(() => {
        self.fits = 0;
        self.fake.onFit = () => (self.fits += 1);
      });
      const input = page.getByLabel("Class name").first();
      await input.fill("mill");
      await input.press("Enter");
      await page.waitForFunction(() => document.querySelector('.answer[data-class="mill"]'));
      await page.waitForTimeout(800);
      assert.equal(await page.workers()[0].evaluate(() => self.fits), 0);
      assert.equal(await page.locator("#fit").getAttribute("data-state"), "done");
      assert.equal(await page.locator("#save-model").isDisabled(), false);
    });
  });

  test("the time that is shown is the time it took", async () => {
    await onPage({}, async (page) => {
      await pace(page, { step: 10 });
      await teach(page, await twoClasses(3));
      // 60 steps of 10 ms each.
      const shown = await page.locator("#fit-time").textContent();
      const milliseconds = Number.parseFloat(shown) * (shown.endsWith(" ms") ? 1 : 1000);
      assert.ok(milliseconds >= 600, shown);
      assert.match(await page.locator("#fit-cv-note").textContent(), /in 3 folds, [\d.]+ s\)/);
    });
  });

  test("the live view is answered while the page fits and measures", async () => {
    await onPage({}, async (page) => {
      await teach(page, await twoClasses(4));
      await page.click("#look-camera");
      await page.waitForFunction(() => document.querySelector("#stage-video").readyState >= 2);
      await pace(page, { step: 40 });
      await page.locator("#fit summary").click();
      await page.selectOption("#fit-c", "10");
      await page.waitForSelector('#fit[data-state="running"], #fit[data-state="checking"]');
      const looks = await page.evaluate(
        () =>
          new Promise((resolve) => {
            let count = 0;
            const fit = document.querySelector("#fit");
            const observer = new MutationObserver(() => (count += 1));
            observer.observe(document.querySelector("#look-time"), { childList: true, characterData: true, subtree: true });
            const wait = () =>
              ["running", "checking"].includes(fit.dataset.state) && count < 8 ? setTimeout(wait, 20) : resolve(count);
            wait();
          }),
      );
      assert.ok(looks >= 8, `${looks} looks while it was busy`);
    });
  });

  test("another network while photos are being read: they are not read into it", async () => {
    await onPage({}, async (page) => {
      await pace(page, { look: 60, load: 200 });
      await page.setInputFiles("#teach-folder", PHOTOS);
      await page.waitForSelector("#queue:not([hidden])");
      await page.selectOption("#network", "squeezenet1_1");
      await page.locator("#confirm[open]").waitFor();
      await page.click("#confirm-yes");
      await page.waitForFunction(() => !document.querySelector("#network").disabled);
      await page.waitForFunction(() => document.querySelector("#queue").hidden);
      await page.waitForTimeout(500);
      assert.deepEqual(await cardNames(page), ["Class 1", "Class 2"]);
      assert.equal(await page.locator("#network").inputValue(), "squeezenet1_1");
      assert.equal(await page.locator(".notice.error").count(), 0);
      for (const count of await page.locator(".class-count").allTextContents()) assert.equal(count, "0 photos");
      await pace(page, { look: 5 });
      await teach(page, await twoClasses(3));
    });
  });

  test("networks changed one upon the other leave one set of cards", async () => {
    await onPage({}, async (page) => {
      await pace(page, { load: 300 });
      await page.evaluate(() => {
        const select = document.querySelector("#network");
        for (const name of ["squeezenet1_1", "efficientnet_lite0", "squeezenet1_1"]) {
          select.value = name;
          select.dispatchEvent(new Event("change"));
        }
      });
      await page.waitForTimeout(1500);
      assert.deepEqual(await cardNames(page), ["Class 1", "Class 2"]);
      await teach(page, await twoClasses(2));
    });
  });

  test("photos that wait go on when the other network's file is none", async () => {
    await onPage({}, async (page) => {
      await pace(page, { look: 40 });
      const files = await photosOf("tool", 12);
      await page.locator("[data-role=class-files]").first().setInputFiles(files);
      await page.waitForSelector("#queue:not([hidden])");
      await page.setInputFiles("#open-model", {
        name: "wrong.safetensors",
        mimeType: "",
        buffer: Buffer.from("not a model"),
      });
      await page.locator("#confirm[open]").waitFor();
      await page.click("#confirm-yes");
      await page.locator(".notice.error").waitFor();
      await page.locator(".class-count", { hasText: "12 photos" }).waitFor();
    });
  });
});

describe("errors that leave nobody alone", () => {
  for (const [how, kill] of [
    ["its worker is ended", (page) => page.workers()[0].evaluate(() => self.close())],
    [
      "its module traps",
      (page) =>
        page.workers()[0].evaluate(() => {
          setTimeout(() => {
            throw new WebAssembly.RuntimeError("unreachable");
          });
        }),
    ],
  ]) {
    test(`when ${how} the page says so, and starts again with all that was taught`, async () => {
      await onPage({}, async (page) => {
        await teach(page, await twoClasses(3));
        const before = await answers(page);
        const [first] = page.workers();
        await pace(page, { look: 300 });
        // One photo is being read, others wait.
        await page
          .locator("[data-role=class-files]")
          .first()
          .setInputFiles(await photosOf("windmill", 4, 5));
        await page.waitForTimeout(100);
        await kill(page);
        const notice = page.locator(".notice.error");
        await notice.waitFor();
        assert.match(await notice.textContent(), /stopped unexpectedly.*kept/s);
        assert.equal(await notice.getByRole("button", { name: "Dismiss" }).count(), 0);
        assert.equal(await page.locator("main").evaluate((main) => main.inert), true);
        await notice.getByRole("button", { name: /^Start again/ }).click();
        await page.waitForSelector("body.ready");
        assert.notEqual(page.workers()[0], first);
        await page.locator(".class-count", { hasText: "7 photos" }).waitFor();
        await page.waitForSelector('#fit[data-state="done"]');
        assert.deepEqual(await cardNames(page), ["windmill", "fish"]);
        assert.equal(await page.locator(".class-card").first().locator(".example").count(), 7);
        assert.equal(await page.locator(".notice").count(), 0);
        const after = await answers(page);
        assert.deepEqual(
          after.map((row) => row.class),
          before.map((row) => row.class),
        );
      });
    });
  }

  test("after a crash an application starts again by itself: same ids, same head once fitted", async () => {
    await onPage({}, async (page) => {
      const found = await withApi(page, async ({ rekindle, red, green, taught, kindOf }) => {
        const ids = await taught({ A: red, B: green });
        await rekindle.removeExample((await rekindle.addExample(ids.A, green())).id);
        await rekindle.fit();
        const before = await rekindle.classify(red());
        const crashed = new Promise((resolve) => rekindle.addEventListener("crash", resolve, { once: true }));
        const waiting = kindOf(rekindle.addClass("trap"));
        await crashed;
        const failed = [await waiting, await kindOf(rekindle.classify(red()))];
        const info = await rekindle.restart();
        const told = rekindle.taught;
        await rekindle.fit();
        return {
          failed: failed.map(({ kind }) => kind),
          head: info.head,
          told,
          known: await rekindle.classes(),
          ids,
          before,
          after: await rekindle.classify(red()),
        };
      });
      assert.deepEqual(found.failed, ["crash", "crash"]);
      assert.equal(found.head, "original");
      assert.deepEqual(found.told, found.known);
      assert.deepEqual(
        found.told.map(({ id, examples }) => [id, examples]),
        [[found.ids.A, 3], [found.ids.B, 3]],
      );
      // The features come back in one type, the toy engine had them in another.
      for (const [i, { id, probability }] of found.after.entries()) {
        assert.equal(id, found.before[i].id);
        assert.ok(Math.abs(probability - found.before[i].probability) < 1e-4);
      }
    });
  });

  test("a worker that falls silent is told of, and what it says later takes that back", async () => {
    await onPage({}, async (page) => {
      await page.clock.install();
      await pace(page, { look: 0 });
      // Busy for longer than the page listens: its own clock is run fast.
      await page.workers()[0].evaluate(() => {
        self.held = [];
        const hear = self.onmessage;
        self.onmessage = (message) => self.held.push(message);
        self.goOn = () => {
          self.onmessage = hear;
          self.held.forEach(hear);
        };
      });
      const [photo] = await photosOf("fish", 1);
      await page.setInputFiles("#look-files", photo);
      for (let i = 0; i < 10; i += 1) {
        await page.clock.runFor(2000);
        await page.waitForTimeout(30);
      }
      const notice = page.locator(".notice.error");
      await notice.waitFor();
      assert.match(await notice.textContent(), /silent for 10 seconds.*kept/s);
      assert.equal(await notice.getByRole("button", { name: /^Start again/ }).count(), 1);
      await page.workers()[0].evaluate(() => self.goOn());
      await notice.waitFor({ state: "detached" });
      assert.ok((await answers(page)).length > 0);
    });
  });

  test("?device=webgpu where there is no adapter is said in a sentence, with a way to the processor", async () => {
    const context = await browser.newContext();
    try {
      // What `navigator.gpu` is in a worker of such a browser: not there.
      await context.route("**/worker.js", async (route) => {
        const response = await route.fetch();
        const text = await response.text();
        await route.fulfill({ response, body: `delete WorkerNavigator.prototype.gpu;\n${text}` });
      });
      const page = await context.newPage();
      await page.goto(`${server.url}?device=webgpu&model=squeezenet1_1`);
      const notice = page.locator(".notice.error");
      await notice.waitFor();
      assert.match(await notice.textContent(), /WebGPU was asked for, but this browser has no WebGPU/);
      await notice.getByRole("button", { name: "Use the CPU" }).click();
      await ready(page);
      assert.equal(new URL(page.url()).search, "?device=cpu&model=squeezenet1_1");
      assert.equal(await page.locator("#device").getAttribute("data-kind"), "cpu");
    } finally {
      await context.close();
    }
  });

  test("opened from the disk the page says what it needs", async () => {
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      await page.goto(`file://${resolve(import.meta.dirname, "../../web/www/index.html")}`);
      const notice = page.locator(".notice.error");
      await notice.waitFor();
      assert.match(await notice.textContent(), /does not run from a file.*http\.server/s);
      assert.equal(await page.locator("#loading").isVisible(), false);
    } finally {
      await context.close();
    }
  });

  test("a part of the page that did not come is told of", async () => {
    const context = await browser.newContext();
    try {
      await context.route("**/js/teach.js", (route) => route.fulfill({ status: 404, body: "" }));
      const page = await context.newPage();
      await page.goto(server.url);
      const notice = page.locator(".notice.error");
      await notice.waitFor();
      assert.match(await notice.textContent(), /part of this page could not be loaded/);
    } finally {
      await context.close();
    }
  });

  for (const [how, lose] of [
    ["tells that it goes", (track) => (track.stop(), track.dispatchEvent(new Event("ended")))],
    ["goes without a word", (track) => track.stop()],
  ]) {
    test(`a camera that ${how} while a class films: no dead frames, and it is said`, async () => {
      await onPage({}, async (page) => {
        const first = page.locator(".class-card").first();
        await first.getByRole("button", { name: "Camera" }).click();
        await page.waitForFunction(() => document.querySelector(".film video")?.readyState >= 2);
        await first.getByRole("button", { name: "Hold to record" }).focus();
        await page.keyboard.down("Space");
        await first.locator(".class-count", { hasText: /^[1-9]\d* photos?$/ }).waitFor();
        await page.evaluate(`(${lose})(document.querySelector(".film video").srcObject.getVideoTracks()[0])`);
        const notice = page.locator(".notice.error");
        await notice.waitFor();
        assert.match(await notice.textContent(), /camera has gone/);
        assert.equal(await page.locator(".film video").count(), 0);
        await page.waitForFunction(() => document.querySelector("#queue").hidden);
        const count = await first.locator(".class-count").textContent();
        await page.waitForTimeout(900);
        assert.equal(await first.locator(".class-count").textContent(), count);
        await page.keyboard.up("Space");
      });
    });
  }

  test("a frozen camera is recorded once", async () => {
    await onPage({}, async (page) => {
      // A canvas that is painted once is a camera that froze.
      await page.evaluate(() => {
        navigator.mediaDevices.getUserMedia = async () => {
          const canvas = document.createElement("canvas");
          canvas.getContext("2d").fillRect(0, 0, 300, 150);
          return canvas.captureStream(0);
        };
      });
      const first = page.locator(".class-card").first();
      await first.getByRole("button", { name: "Camera" }).click();
      await page.waitForFunction(() => document.querySelector(".film video")?.readyState >= 2);
      await first.getByRole("button", { name: "Hold to record" }).focus();
      await page.keyboard.down("Space");
      await page.waitForTimeout(1500);
      await page.keyboard.up("Space");
      await page.waitForTimeout(300);
      const count = Number.parseInt(await first.locator(".class-count").textContent(), 10);
      assert.ok(count <= 2, `${count} photos of one picture`);
    });
  });

  test("a broken photo leaves neither the last one's answer nor its time", async () => {
    await onPage({}, async (page) => {
      const [good] = await photosOf("fish", 1);
      await classify(page, good);
      assert.match(await page.locator("#look-time").textContent(), /One look/);
      await page.setInputFiles("#look-files", {
        name: "broken.jpg",
        mimeType: "image/jpeg",
        buffer: Buffer.from("<html>no picture</html>"),
      });
      const notice = page.locator(".notice.error");
      await notice.waitFor();
      assert.equal(await page.locator(".answer").count(), 0);
      assert.equal(await page.locator("#look-time").textContent(), "");
      assert.equal(await page.locator("#dock-answer").textContent(), "Look");
      assert.equal(await page.locator("#verdict").isVisible(), false);
      assert.equal(await page.locator("#stage").getAttribute("data-shows"), "empty");
      assert.match(await page.locator("#answers-empty").textContent(), /broken\.jpg.*could not be read/);
      // The next fit does not bring the error back.
      await notice.getByRole("button", { name: "Dismiss" }).click();
      await teach(page, await twoClasses(2));
      assert.equal(await page.locator(".notice.error").count(), 0);
    });
  });

  test("of 128 photos every one is shown and named, after a fit too", async () => {
    await onPage({}, async (page) => {
      await pace(page, { look: 1 });
      const names = ["animal", "fish", "monument", "tool", "windmill"];
      const files = (await Promise.all(names.map((name) => photosOf(name, 1000)))).flat();
      assert.equal(files.length, 128);
      await page.setInputFiles("#look-files", files);
      const named = () =>
        page.waitForFunction(() => {
          const labels = [...document.querySelectorAll(".tray-label")].map((label) => label.textContent);
          return labels.length === 128 && labels.every((label) => label !== "…");
        });
      await named();
      await teach(page, await twoClasses(2));
      await named();
      const labels = await page.locator(".tray-label").allTextContents();
      assert.ok(labels.every((label) => ["windmill", "fish"].includes(label)), labels.join());
    });
  });

  test("more photos than are shown are told of", async () => {
    await onPage({}, async (page) => {
      await pace(page, { look: 0 });
      await page.evaluate(() => {
        const files = Array.from({ length: 520 }, (_, i) => new File(["x"], `${i}.png`, { type: "image/png" }));
        const input = document.querySelector("#look-files");
        Object.defineProperty(input, "files", { value: files });
        input.dispatchEvent(new Event("change"));
      });
      await page.locator(".notice.warning", { hasText: "first 500 of 520 photos" }).waitFor();
    });
  });

  test("a live view makes no new canvas for every frame", async () => {
    await onPage({}, async (page) => {
      const [worker] = page.workers();
      await worker.evaluate(() => {
        self.canvases = 0;
        self.looks = 0;
        self.OffscreenCanvas = class extends OffscreenCanvas {
          constructor(...size) {
            super(...size);
            self.canvases += 1;
          }
        };
        self.fake.onLook = () => (self.looks += 1);
      });
      await page.click("#look-camera");
      const looks = async () => worker.evaluate(() => self.looks);
      while ((await looks()) < 30) await page.waitForTimeout(50);
      const canvases = await worker.evaluate(() => self.canvases);
      assert.ok(canvases <= 2, `${canvases} canvases for ${await looks()} looks`);
    });
  });
});
