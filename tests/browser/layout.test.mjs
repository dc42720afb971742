// The page with a fake engine: layout, keyboard, files and errors. Nothing here needs the
// WebAssembly build, so a broken page is found before the long one begins.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import {
  answers,
  classify,
  PHONE,
  PHOTOS,
  photosOf,
  ready,
  screenshot,
  teach,
  visit,
} from "./helpers/browser.mjs";
import { browser, onPage, server } from "./helpers/fake-page.mjs";

const twoClasses = async (count) => [
  { name: "windmill", files: await photosOf("windmill", count) },
  { name: "fish", files: await photosOf("fish", count) },
];

const file = (name, mimeType, content) => ({ name, mimeType, buffer: Buffer.from(content) });

test("nothing sticks out sideways and every control is large enough for a thumb at 360 pixels", async () => {
  await onPage({ context: { ...PHONE, viewport: { width: 360, height: 640 } } }, async (page) => {
    await teach(page, await twoClasses(3));
    await page.locator(".class-card").first().getByRole("button", { name: "Camera" }).click();
    await page.waitForSelector(".film video");
    const { overflow, small } = await page.evaluate(() => {
      const controls = "button, label.button, select, summary, .dock a, input[type=number]";
      return {
        overflow: document.documentElement.scrollWidth - window.innerWidth,
        small: [...document.querySelectorAll(controls)]
          .filter((control) => control.checkVisibility())
          .map((control) => ({ control, box: control.getBoundingClientRect() }))
          .filter(({ box }) => box.width < 43.5 || box.height < 43.5)
          .map(({ control, box }) => `${control.outerHTML.slice(0, 60)} ${box.width}×${box.height}`),
      };
    });
    assert.equal(overflow, 0);
    assert.deepEqual(small, []);
  });
});

for (const colorScheme of ["light", "dark"]) {
  test(`text stands out from its ground by 4.5 to 1 in the ${colorScheme} scheme`, async () => {
    await onPage({ context: { colorScheme } }, async (page) => {
      const colours = await page.evaluate(() => {
        const style = getComputedStyle(document.documentElement);
        const names = "paper card sunk ink soft ember ember-strong ember-wash on-ember warn-wash bad-wash bad";
        return Object.fromEntries(names.split(" ").map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
      });
      const pairs = [
        ["ink", "paper"],
        ["ink", "card"],
        ["ink", "warn-wash"],
        ["ink", "bad-wash"],
        ["soft", "paper"],
        ["soft", "card"],
        ["soft", "sunk"],
        ["ember", "card"],
        ["ember-strong", "ember-wash"],
        ["on-ember", "ember"],
        ["paper", "bad"],
      ];
      for (const [text, ground] of pairs) {
        const ratio = contrast(colours[text], colours[ground]);
        assert.ok(ratio >= 4.5, `${text} on ${ground}: ${ratio.toFixed(2)}`);
      }
    });
  });
}

test("every control has a name that can be spoken", async () => {
  await onPage({}, async (page) => {
    await teach(page, await twoClasses(2));
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("button, input, select, video, progress")]
        .filter((control) => control.checkVisibility() || control.type === "file")
        .filter(
          (control) =>
            !control.getAttribute("aria-label") &&
            !control.getAttribute("aria-labelledby") &&
            !control.textContent.trim() &&
            ![...(control.labels ?? [])].some((label) => label.textContent.trim()),
        )
        .map((control) => control.outerHTML.slice(0, 80)),
    );
    assert.deepEqual(nameless, []);
  });
});

test("the page works with the keyboard alone: a class, a photo less, a frame more", async () => {
  await onPage({}, async (page) => {
    await teach(page, await twoClasses(3));
    await page.focus("#add-class");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement.matches(".class-name"));
    await page.keyboard.type("nothing");
    await page.keyboard.press("Enter");
    const card = page.locator(".class-card").nth(2);
    assert.equal(await card.getByLabel("Class name").inputValue(), "nothing");

    await card.getByRole("button", { name: "Camera" }).press("Enter");
    await page.waitForFunction(() => document.querySelector(".film video")?.readyState >= 2);
    await card.getByRole("button", { name: "Hold to record" }).focus();
    await page.keyboard.down("Space");
    await page.waitForTimeout(700);
    await page.keyboard.up("Space");
    await card.locator(".class-count", { hasText: /^[2-9] photos$/ }).waitFor();

    const first = page.locator(".class-card").first();
    await first.locator(".example").first().focus();
    await page.keyboard.press("Delete");
    await first.locator(".class-count", { hasText: "2 photos" }).waitFor();
    await page.waitForSelector('#fit[data-state="done"]');
    assert.equal((await answers(page)).length, 3);
  });
});

test("a folder of class folders becomes classes", async () => {
  await onPage({}, async (page) => {
    await page.setInputFiles("#teach-folder", PHOTOS);
    await page.waitForSelector('#fit[data-state="done"]');
    const cards = await page.$$eval(".class-card", (cards) =>
      cards.map((card) => [
        card.querySelector(".class-name").value,
        Number.parseInt(card.querySelector(".class-count").textContent, 10),
      ]),
    );
    const counts = Object.fromEntries(cards);
    assert.deepEqual(Object.keys(counts).sort(), ["animal", "fish", "monument", "tool", "windmill"]);
    for (const name of Object.keys(counts)) {
      assert.equal(counts[name], (await photosOf(name, 1000)).length, name);
    }
  });
});

test("photos that wait can be called off, and what was read stays", async () => {
  await onPage({}, async (page) => {
    const files = await photosOf("tool", 35);
    await page.locator("[data-role=class-files]").first().setInputFiles(files);
    await page.waitForSelector("#queue:not([hidden])");
    await page.click("#queue-cancel");
    await page.waitForSelector("#queue[hidden]", { state: "attached" });
    const count = Number.parseInt(await page.locator(".class-count").first().textContent(), 10);
    assert.ok(count > 0 && count < files.length, `${count} photos`);
  });
});

test("photos that cannot be read are listed in one notice, and the others are in", async () => {
  await onPage({}, async (page) => {
    const heic = Buffer.concat([Buffer.from([0, 0, 0, 24]), Buffer.from("ftypheic"), Buffer.alloc(40)]);
    const [good] = await photosOf("fish", 1);
    await page
      .locator("[data-role=class-files]")
      .first()
      .setInputFiles([
        file("empty.jpg", "image/jpeg", ""),
        file("text.png", "image/png", "<html>not a picture</html>"),
        { name: "phone.heic", mimeType: "image/heic", buffer: heic },
        { name: "cut.webp", mimeType: "image/webp", buffer: (await readFile(good)).subarray(0, 60) },
        { name: "good.webp", mimeType: "image/webp", buffer: await readFile(good) },
      ]);
    const notice = page.locator(".notice.error");
    await notice.waitFor();
    assert.match(await notice.textContent(), /4 of 5 photos could not be read/);
    const lines = await notice.locator("li").allTextContents();
    assert.match(lines[0], /empty\.jpg.* is empty/);
    assert.match(lines[1], /text\.png.* is not a picture/);
    assert.match(lines[2], /phone\.heic.* is a HEIC photo/);
    assert.equal(await page.locator(".class-count").first().textContent(), "1 photo");
  });
});

test("a photo is used upright, as its EXIF data says", async () => {
  await onPage({}, async (page) => {
    const [rotated, upright, lying] = await page.evaluate(async () => {
      const { Rekindle } = await import("./rekindle.js");
      const rekindle = await Rekindle.start();
      await rekindle.load("models/squeezenet1_1.safetensors");
      const paint = (width, height) => {
        const canvas = new OffscreenCanvas(width, height);
        const context = canvas.getContext("2d");
        context.fillStyle = "#d02020";
        context.fillRect(0, 0, width, height);
        context.fillStyle = "#2030d0";
        if (width > height) context.fillRect(width / 2, 0, width / 2, height);
        else context.fillRect(0, height / 2, width, height / 2);
        return canvas;
      };
      const jpeg = await paint(128, 64).convertToBlob({ type: "image/jpeg", quality: 1 });
      // APP1 "Exif", one little-endian IFD entry: tag 0x0112 (orientation) = 6, a quarter turn.
      const exif = [
        0xff, 0xe1, 0, 34, 0x45, 0x78, 0x69, 0x66, 0, 0, 0x49, 0x49, 42, 0, 8, 0, 0, 0, 1, 0, 0x12,
        1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0,
      ];
      const bytes = new Uint8Array(await jpeg.arrayBuffer());
      const turned = new Blob([bytes.slice(0, 2), new Uint8Array(exif), bytes.slice(2)], {
        type: "image/jpeg",
      });
      const logits = async (picture) =>
        (await rekindle.classify(picture, 8)).sort((a, b) => a.index - b.index).map(({ logit }) => logit);
      const result = [await logits(turned), await logits(paint(64, 128)), await logits(jpeg)];
      rekindle.close();
      return result;
    });
    const distance = (a, b) => Math.max(...a.map((value, i) => Math.abs(value - b[i])));
    assert.ok(distance(rotated, upright) < 0.3, `turned: ${distance(rotated, upright)}`);
    assert.ok(distance(lying, upright) > 1, `unturned: ${distance(lying, upright)}`);
  });
});

test("a lossless photo reaches the engine pixel for pixel", async () => {
  await onPage({}, async (page) => {
    const [fromFile, fromPixels] = await page.evaluate(async () => {
      const { Rekindle } = await import("./rekindle.js");
      const rekindle = await Rekindle.start();
      await rekindle.load("models/squeezenet1_1.safetensors");
      const image = new ImageData(97, 61);
      for (let i = 0; i < image.data.length; i += 4) {
        image.data.set([(i * 31) & 255, (i * 17) & 255, (i >> 4) & 255, 255], i);
      }
      const canvas = new OffscreenCanvas(97, 61);
      canvas.getContext("2d", { willReadFrequently: true }).putImageData(image, 0, 0);
      const png = await canvas.convertToBlob({ type: "image/png" });
      const result = [await rekindle.classify(png, 8), await rekindle.classify(image, 8)];
      rekindle.close();
      return result;
    });
    assert.deepEqual(fromFile, fromPixels);
  });
});

test("a camera that is not allowed is explained, and photos still work", async () => {
  const { page, context, trouble } = await visit(browser, server.url);
  try {
    await context.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = async () => {
        throw new DOMException("Permission denied", "NotAllowedError");
      };
    });
    await page.reload();
    await ready(page);
    await page.click("#look-camera");
    const notice = page.locator(".notice.error");
    await notice.waitFor();
    assert.match(await notice.textContent(), /camera is not allowed.*site settings/);
    const [photo] = await photosOf("fish", 1);
    assert.ok((await classify(page, photo)).length > 0);
    assert.deepEqual(trouble, []);
  } finally {
    await context.close();
  }
});

test("names stay unique and are never empty", async () => {
  await onPage({}, async (page) => {
    const names = page.getByLabel("Class name");
    await names.first().fill("mug");
    await names.first().press("Enter");
    for (const wrong of ["mug", "  "]) {
      await names.nth(1).fill(wrong);
      await names.nth(1).press("Enter");
      assert.equal(await names.nth(1).inputValue(), "Class 2");
    }
    assert.equal(await page.locator(".notice.warning").count(), 1);
  });
});

test("few and unequal photos are warned about, and balanced weights are offered", async () => {
  await onPage({}, async (page) => {
    await teach(page, [
      { name: "tool", files: await photosOf("tool", 20) },
      { name: "fish", files: await photosOf("fish", 3) },
    ]);
    const warnings = await page.locator("#fit-warnings li").allTextContents();
    assert.match(warnings[0], /Fewer than 5 photos in “fish”/);
    assert.match(warnings[1], /“fish” has 7 times fewer photos.*balanced weights/);
  });
});

test("work is not lost without a question: another network, a class, leaving", async () => {
  await onPage({}, async (page) => {
    await teach(page, await twoClasses(3));
    await page.selectOption("#network", "squeezenet1_1");
    await page.locator("#confirm[open]").waitFor();
    await page.getByRole("button", { name: "Keep everything" }).click();
    assert.equal(await page.locator("#network").inputValue(), "efficientnet_lite0");

    await page.locator(".class-card").first().getByRole("button", { name: "Delete this class" }).click();
    await page.keyboard.press("Escape");
    assert.equal(await page.locator(".class-card").count(), 2);

    const leaving = page.waitForEvent("dialog");
    const closed = page.close({ runBeforeUnload: true });
    const dialog = await leaving;
    assert.equal(dialog.type(), "beforeunload");
    await dialog.dismiss();
    await closed;
    assert.equal(await page.locator(".class-card").count(), 2);
  });
});

test("a file that is no model is refused in a sentence, and the work so far goes on", async () => {
  await onPage({}, async (page) => {
    await page.setInputFiles("#open-model", file("wrong.safetensors", "", "not a model"));
    const notice = page.locator(".notice.error");
    await notice.waitFor();
    assert.match(await notice.textContent(), /not a safetensors file.*rekindle train/);
    await teach(page, await twoClasses(2));
  });
});

test("files dropped on the page find their place: a photo, a model, a photo on a class", async () => {
  await onPage({}, async (page) => {
    const drop = (selector, name, type, url) =>
      page.evaluate(
        async ({ selector, name, type, url }) => {
          const transfer = new DataTransfer();
          const content = await (await fetch(url)).blob();
          transfer.items.add(new File([content], name, { type }));
          const target = document.querySelector(selector);
          for (const event of ["dragenter", "dragover", "drop"]) {
            target.dispatchEvent(
              new DragEvent(event, { bubbles: true, cancelable: true, dataTransfer: transfer }),
            );
          }
        },
        { selector, name, type, url },
      );
    await drop("footer", "owl.webp", "image/webp", "samples/animal/owl.webp");
    await page.waitForFunction(() => document.querySelector("#stage-photo").alt === "owl.webp");
    await drop(".class-card:nth-child(2)", "koala.webp", "image/webp", "samples/animal/koala.webp");
    await page.locator(".class-card").nth(1).locator(".class-count", { hasText: "1 photo" }).waitFor();
    assert.equal(await page.locator("#veil").isVisible(), false);
    await drop("footer", "other.safetensors", "", "models/squeezenet1_1.safetensors");
    await page.locator("#confirm[open]").waitFor();
    await page.click("#confirm-yes");
    await page.waitForFunction(() => document.querySelector("#network").value === "squeezenet1_1");
  });
});

for (const [query, build] of [
  ["?device=cpu", "cpu"],
  ["", "cpu"], // there is only a software adapter
  ["?device=webgpu", "gpu"],
]) {
  test(`with ${query || "no wish for a device"} the page downloads the ${build} engine and no other`, async () => {
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      const asked = new Set();
      context.on("request", (request) => {
        const found = /\/pkg\/(\w+)\//.exec(request.url());
        if (found) asked.add(found[1]);
      });
      await page.goto(server.url + query);
      await ready(page);
      assert.deepEqual([...asked], [build]);
    } finally {
      await context.close();
    }
  });
}

test("an engine that is missing is said in a sentence", async () => {
  const { page, context } = await visit(browser, server.url, { query: "?device=cpu" });
  try {
    await context.route("**/pkg/**", (route) => route.fulfill({ status: 404, body: "" }));
    await page.reload();
    const notice = page.locator(".notice.error");
    await notice.waitFor();
    assert.match(await notice.textContent(), /WebAssembly part of the page did not start/);
  } finally {
    await context.close();
  }
});

test("an engine that traps is said in a sentence, and the page stops taking work", async () => {
  await onPage({}, async (page) => {
    await page.evaluate(() => {
      const photo = new File(["x"], "x.png", { type: "image/png" });
      Object.defineProperty(photo, "webkitRelativePath", { value: "all/trap/x.png" });
      const folder = document.querySelector("#teach-folder");
      Object.defineProperty(folder, "files", { value: [photo] });
      folder.dispatchEvent(new Event("change"));
    });
    const notice = page.locator(".notice.error");
    await notice.waitFor();
    assert.match(await notice.textContent(), /stopped unexpectedly/);
    assert.equal(await page.locator("main").evaluate((main) => main.inert), true);
  });
});

test("it looks as it should, for a person to check", async () => {
  const shapes = { phone: PHONE, desktop: { viewport: { width: 1280, height: 800 } } };
  for (const [shape, context] of Object.entries(shapes)) {
    for (const colorScheme of ["light", "dark"]) {
      await onPage({ context: { ...context, colorScheme } }, async (page) => {
        await answers(page);
        await screenshot(page, `fake-${shape}-${colorScheme}-fresh`, { fullPage: false });
        await teach(page, await twoClasses(6));
        await page.waitForTimeout(400);
        await screenshot(page, `fake-${shape}-${colorScheme}-taught`);
      });
    }
  }
});

/** Contrast ratio of two #rrggbb colours, by WCAG 2.2. */
function contrast(a, b) {
  const luminance = (colour) => {
    const [red, green, blue] = colour
      .slice(1)
      .match(/../g)
      .map((digits) => Number.parseInt(digits, 16) / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}
