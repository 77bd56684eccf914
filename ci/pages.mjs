// Uses the pages in a folder as people do, in a browser, from files. Then it breaks copies of them and demands that the checks see it.
//
//   PLAYWRIGHT_AT=… BROWSER=… PROFILE=… node ci/pages.mjs FOLDER
//
// `ci/pages` installs what this needs and writes the pages.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { chromium } = createRequire(join(process.env.PLAYWRIGHT_AT, "package.json"))("playwright-core");

/* Generous: a page of this size opens in half a second on a machine with nothing else to do. */
const OPENS_IN_MS = 10_000;
const LONG_LINES = 5_000;
const WIDE = { width: 1400, height: 1000 }, NARROW = { width: 390, height: 844 };

/* A page that is open, and what it did that it should not. */
class Opened {
  constructor(page, file) {
    Object.assign(this, { page, file, url: pathToFileURL(file).href, said: [], asked: [] });
    page.on("console", m => this.said.push(m.text()));
    page.on("pageerror", e => this.said.push(e.message));
    page.on("request", r => { if (r.url() !== this.url && !r.url().startsWith("data:")) this.asked.push(r.url()); });
  }
  async open() {
    const began = performance.now();
    await this.page.goto(this.url);
    this.took = performance.now() - began;
    this.text = readFileSync(this.file, "utf8");
    const data = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(this.text);
    this.data = data && JSON.parse(data[1]);
  }
  press(...keys) { return keys.reduce((before, key) => before.then(() => this.page.keyboard.press(key)), Promise.resolve()); }
  find(selector) { return this.page.locator(selector); }
  texts(selector) { return this.find(selector).allInnerTexts(); }
  async step() {
    const said = /^step (\d+) of (\d+)/.exec(await this.find("#where").innerText());
    assert(said, "the page says at which step it is");
    return { at: Number(said[1]), of: Number(said[2]) };
  }
  range() { return this.find("#range").evaluate(r => ({ min: Number(r.min), max: Number(r.max), value: Number(r.value) })); }
  chosen() { return this.page.locator(".row.here").getAttribute("data-i").then(Number); }
  /* Every box of the filters checked, or none but those that are always shown. */
  async boxes(checked) {
    for (const box of await this.find("#filters input[type=checkbox]").all()) await box.setChecked(checked);
  }
  async fresh() { await this.page.reload(); }
}

/* What holds of every page. */
const common = {
  async "opens in time"(p) {
    assert(p.took < OPENS_IN_MS, `expected to open in ${OPENS_IN_MS} ms, took ${p.took}`);
  },
  async "cuts nothing off"(p) {
    for (const size of [WIDE, NARROW]) {
      await p.page.setViewportSize(size);
      await p.page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));
      assert.deepEqual(await p.page.evaluate(cutOff), [], `at a width of ${size.width}`);
    }
    await p.page.setViewportSize(WIDE);
  },
  async "says nothing on the console"(p) { assert.deepEqual(p.said, []); },
  async "asks for nothing"(p) { assert.deepEqual(p.asked, []); },
};

/* Runs in the page: texts of which a part cannot be seen, nor scrolled to. */
function cutOff() {
  const found = [], say = (e, why) => found.push(`${why}: ${e.textContent.trim().slice(0, 60)}`);
  if (document.documentElement.scrollWidth > innerWidth + 1) found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  const scrolls = e => { const s = getComputedStyle(e); return ["auto", "scroll"].includes(s.overflowX); };
  for (const e of document.body.querySelectorAll("*")) {
    const own = [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim());
    const box = e.getBoundingClientRect();
    if (!own || !box.width || ["SCRIPT", "STYLE", "OPTION", "SELECT"].includes(e.tagName) || e.closest("svg svg")) continue;
    if (getComputedStyle(e).textOverflow === "ellipsis") say(e, "ends in dots");
    let reachable = false;
    for (let up = e; up && !reachable; up = up.parentElement) {
      reachable = up !== e && scrolls(up) && up.id !== "scroll";
      const clips = up instanceof HTMLElement && getComputedStyle(up).overflowX !== "visible" && !scrolls(up) && up !== document.body;
      if (clips && (up === e ? up.scrollWidth > up.clientWidth + 1 : box.right > up.getBoundingClientRect().right + 1)) say(e, `cut by ${up.tagName} ${up.id}`);
    }
    if (!reachable && (box.right > innerWidth + 1 || box.left < -1)) say(e, "out of the window");
  }
  for (const row of document.querySelectorAll(".row")) {
    const text = row.querySelector(".x").getBoundingClientRect(), box = row.getBoundingClientRect();
    if (text.right > box.right + 1 || text.bottom > box.bottom + 1) say(row, "does not fit into its row");
  }
  return found;
}

/* Runs in the page, in one go: scrolling draws the rows anew. */
function failIsInSight() {
  const rows = [...document.querySelectorAll(".row.fail.violation.here")].map(row => row.getBoundingClientRect());
  const sight = document.getElementById("scroll").getBoundingClientRect();
  return rows.length === 1 && rows[0].top >= sight.top && rows[0].bottom <= sight.bottom + 1;
}

/* What holds of every time line. */
const timeline = {
  async "has a lane for every party"(p) {
    const names = [...p.data.parties.map(party => party.name), "Chain"];
    assert.deepEqual(await p.texts("#lanes span"), names);
    assert.deepEqual(await p.texts("#cards .card h3 b"), names);
    const drawn = await p.find("#graph > line").evaluateAll(lines => new Set(lines.map(l => l.getAttribute("x1"))).size);
    assert(drawn >= names.length, `expected ${names.length} lanes, ${drawn} are drawn`);
    assert(await p.find("#chart path").count() >= names.length - 1, "balances over time");
  },
  async "shows every line"(p) {
    await p.boxes(true);
    assert.equal((await p.step()).of, p.data.lines.length);
    const kinds = new Set(p.data.lines.map(l => l.k));
    for (const kind of ["message", "block", "sync"]) assert(kinds.has(kind), `a line of kind ${kind}`);
    await p.fresh();
  },
  async "the slider moves by keyboard"(p) {
    await p.find("#range").focus();
    await p.press("Home");
    assert.equal((await p.step()).at, 1);
    await p.press("ArrowRight");
    assert.equal((await p.step()).at, 2);
    await p.press("PageDown", "ArrowLeft", "ArrowUp", "ArrowDown");
    assert.equal((await p.step()).at, 21);
    assert.equal((await p.range()).value, 20);
    await p.press("End");
    const { at, of } = await p.step();
    assert.equal(at, of);
  },
  /* Reckoned from the data, step by step, beside what the page shows. */
  async "each step has the state of every party"(p) {
    await p.find("#range").focus();
    await p.press("Home");
    const seen = new Set();
    for (let n = 0; n < 12; n++) {
      const chosen = await p.chosen(), line = p.data.lines[chosen];
      assert((await p.find("#now").innerText()).includes(line.x), `the line "${line.x}"`);
      for (const [i, party] of p.data.parties.entries()) {
        const state = p.data.snapshots.filter(s => s.p === i && s.after <= chosen + 1).pop()?.v;
        const card = await p.find(`#cards .card[data-lane="${i}"]`).innerText();
        seen.add(card);
        if (!state) { assert.match(card, party.honest ? /Not started/ : /Nobody looks inside/); continue; }
        assert(card.includes(`${state.lsn} / ${state.durable}`), `${party.name} at step ${chosen}: ${card}`);
        for (const place of [...state.channels, ...state.virtuals]) {
          const channel = p.data.states[place];
          for (const text of [p.data.channels[channel.c].name, channel.phase, ...channel.pursues]) assert(card.includes(text), `${text} at step ${chosen} in ${card}`);
          if (channel.balances) for (const who of p.data.channels[channel.c].who) assert(card.includes(`balance of ${who}`), `${who}'s balance in ${card}`);
        }
      }
      await p.press("PageDown");
    }
    assert(seen.size > p.data.parties.length * 2, `the states change: ${seen.size} different ones were shown`);
  },
  async "filters by kind"(p) {
    const before = await p.step(), box = p.find('#filters label:has-text("messages") input');
    await box.uncheck();
    const messages = p.data.lines.filter(l => l.k === "message").length;
    assert.equal((await p.step()).of, before.of - messages);
    assert.equal(await p.find(".row.message").count(), 0);
    await box.check();
    assert.deepEqual((await p.step()).of, before.of);
    await p.fresh();
  },
  async "filters by party"(p) {
    await p.boxes(true);
    const { lines, parties, fail } = p.data;
    for (const who of [0, parties.length]) {
      await p.find("#party").selectOption(String(who));
      const touches = l => l.a === null || l.a === who || l.b === who || (l.s ?? null) !== null && lines[l.s].a === who;
      const expected = lines.filter((l, i) => touches(l) || i === fail).length;
      assert(expected < lines.length);
      assert.equal((await p.step()).of, expected);
    }
    await p.fresh();
  },
  async "finds words"(p) {
    await p.press("/");
    await p.page.keyboard.type("submits a");
    const expected = p.data.lines.filter((l, i) => l.k === "submit" && l.x.toLowerCase().includes("submits a") || i === p.data.fail).length;
    assert.equal((await p.step()).of, expected);
    await p.press("Escape");
    assert((await p.step()).of > expected);
  },
  async "zooms"(p) {
    const all = await p.range();
    await p.press("+", "+");
    const near = await p.range();
    assert(near.max - near.min < (all.max - all.min) / 3, `from ${JSON.stringify(all)} to ${JSON.stringify(near)}`);
    await p.press("Home");
    const moved = await p.range();
    assert.deepEqual([moved.min, moved.value, moved.max - moved.min], [0, 0, near.max - near.min], "the view follows the cursor");
    await p.press("0");
    assert.deepEqual({ ...await p.range(), value: 0 }, { ...all, value: 0 });
  },
};

const failed = {
  async "marks the failing step and goes there"(p) {
    const fail = p.data.fail;
    assert.equal(p.data.lines[fail]?.k, "violation");
    assert.match(await p.find("header").getAttribute("class"), /failed/);
    assert.equal(await p.find("#failmark").count(), 1);
    for (const go of [() => p.press("f"), () => p.find('[data-go="fail"]').click(), () => p.find("#why li.end").first().click()]) {
      await p.press("Home");
      assert.notEqual(await p.chosen(), fail);
      await go();
      assert.equal(await p.chosen(), fail);
      assert(await p.page.evaluate(failIsInSight), "the failing step is marked and in sight");
    }
  },
};

const passed = {
  async "marks no step of a run that passed"(p) {
    assert.equal(p.data.fail, null);
    assert.equal(await p.find("#failmark, .row.fail").count(), 0);
    assert(await p.find('[data-go="fail"]').isHidden());
  },
  async "has as many lines as a long run"(p) {
    assert(p.data.lines.length >= LONG_LINES, `expected ${LONG_LINES} lines, found ${p.data.lines.length}`);
  },
};

const report = {
  async "has sentences, a picture and tables"(p) {
    assert((await p.find("h1").innerText()).length > 3);
    assert(await p.find("body > p").count() >= 1);
    assert(await p.find("figure svg").locator("path, polyline, rect, circle").count() > 3, "the picture has something in it");
    const rows = await p.find("table").evaluateAll(tables => tables.map(t => t.rows.length));
    assert(rows.length >= 1 && rows.some(n => n > 1), `tables with rows, found ${JSON.stringify(rows)}`);
    assert(await p.find("footer").innerText());
  },
};

/* What is checked of which page. What the page did meanwhile is looked at last. */
const PAGES = {
  "failed.html": { ...timeline, ...failed, ...common },
  "passed.html": { ...timeline, ...passed, ...common },
  "campaign.html": { ...report, ...common },
  "detection.html": { ...report, ...common },
};

/* Damage, and the check that must see it: page, what is replaced, by what, the check. */
const DAMAGE = [
  ["failed.html", /<script>\n"use strict"[\s\S]*<\/script>/, "", "has a lane for every party"],
  ["failed.html", 'document.addEventListener("keydown"', 'document.addEventListener("keyless"', "the slider moves by keyboard"],
  ["failed.html", "paint(); showState();", "paint();", "each step has the state of every party"],
  ["failed.html", "list[mid].after <= step + 1", "list[mid].after <= step + 40", "each step has the state of every party"],
  ["failed.html", /"fail":\d+/, '"fail":null', "marks the failing step and goes there"],
  ["failed.html", 'reveal(D.fail),\n', "D.fail,\n", "marks the failing step and goes there"],
  ["failed.html", "shownKinds.get(l.k) !== false", "true", "filters by kind"],
  ["failed.html", "touches(l, Number(party))", "true", "filters by party"],
  ["failed.html", "l.x.toLowerCase().includes(needle)", "true", "finds words"],
  ["failed.html", '[...P.map(p => p.name), "Chain"];', '[...P.slice(1).map(p => p.name), "Chain"];', "has a lane for every party"],
  ["failed.html", "if (visible(l, i)) vis.push(i)", "if (visible(l, i) && i % 7) vis.push(i)", "shows every line"],
  ["failed.html", "view = [from, from + Math.round(span)];", "", "zooms"],
  ["failed.html", ".row .x { ", ".row .x { max-width: 90px; overflow: hidden; ", "cuts nothing off"],
  ["failed.html", "room = Math.max(", "room = 400 + Math.max(", "cuts nothing off"],
  ["failed.html", "buildFilters();\nrefilter();", "buildFilters();\nrefilter();\nnobody();", "says nothing on the console"],
  ["failed.html", "</body>", '<img alt="" src="nobody.png"></body>', "asks for nothing"],
  ["passed.html", '"fail":null', '"fail":7', "marks no step of a run that passed"],
  ["campaign.html", /<table>[\s\S]*<\/table>/, "", "has sentences, a picture and tables"],
  ["campaign.html", "</head>", '<link rel="stylesheet" href="http://127.0.0.1:9/nobody.css"></head>', "asks for nothing"],
  ["detection.html", ".wide { overflow-x: auto;", ".wide { overflow-x: hidden; width: 200px; white-space: nowrap;", "cuts nothing off"],
];

async function opened(context, file) {
  const page = await context.newPage();
  page.setDefaultTimeout(OPENS_IN_MS);
  await page.setViewportSize(WIDE);
  const it = new Opened(page, file);
  await it.open();
  return it;
}

async function check(context, folder) {
  for (const [name, checks] of Object.entries(PAGES)) {
    const p = await opened(context, join(folder, name));
    await p.page.screenshot({ path: join(folder, name.replace("html", "png")) });
    for (const [what, holds] of Object.entries(checks)) {
      try { await holds(p); } catch (e) { throw new Error(`${name}: ${what}: ${e.message}`, { cause: e }); }
    }
    const lines = p.data ? `${p.data.lines.length} lines, ` : "";
    console.log(`${name}: ${lines}${Math.round(p.text.length / 1024)} KiB, open in ${Math.round(p.took)} ms, ${Object.keys(checks).length} checks`);
    await p.page.close();
  }
}

async function demandThatChecksFire(context, folder) {
  for (const [name, from, to, what] of DAMAGE) {
    const whole = readFileSync(join(folder, name), "utf8"), damaged = whole.replace(from, () => to);
    assert.notEqual(damaged, whole, `${name} has no ${from} any more: change DAMAGE with the template`);
    const file = join(folder, "damaged.html");
    writeFileSync(file, damaged);
    const p = await opened(context, file);
    p.page.setDefaultTimeout(1_000);
    const fired = await PAGES[name][what](p).then(() => false, () => true);
    assert(fired, `"${what}" does not see that in ${name} \`${from}\` became \`${to}\``);
    await p.page.close();
  }
  /* What no damage in a page can show in good time. */
  await assert.rejects(common["opens in time"]({ took: OPENS_IN_MS }));
  await assert.rejects(passed["has as many lines as a long run"]({ data: { lines: Array(LONG_LINES - 1) } }));
  console.log(`damage: all ${DAMAGE.length} damaged pages were seen`);
}

const folder = resolve(process.argv[2] ?? ".");
const context = await chromium.launchPersistentContext(process.env.PROFILE, {
  executablePath: process.env.BROWSER,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
try {
  await check(context, folder);
  await demandThatChecksFire(context, folder);
} catch (e) {
  console.error(`ci/pages: ${e.message}`);
  process.exitCode = 1;
} finally {
  await context.close();
}
