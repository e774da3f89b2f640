// The page: an image in, its outline, class and flag out.

import { Told, analyse, load, round } from "./predictor.js?__VERSION__";

const ORANGE = [230, 159, 0];

const part = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(0)}\u00a0%`;

function element(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
}

function headline({ label, probabilities, flagged, lesions }) {
    if (!label) return "Not analysed";
    const flag = !flagged ? "" : label === "malignant" ? ", flagged" : ", but flagged";
    const found = lesions ? `${lesions} lesion${lesions > 1 ? "s" : ""} outlined` : "no lesion outlined";
    return `${label[0].toUpperCase()}${label.slice(1)} (${percent(probabilities[label])})${flag} · ${found}`;
}

function explanation({ words, thresholds }, { label, reasons, refused, probabilities, flagged }) {
    if (!label) return [...reasons, words.refused_help];
    const lines = refused ? [`${words.analysed_anyway}. ${reasons.join(" ")}`] : [];
    if (flagged && label !== "malignant") {
        const [found, alert] = [probabilities.malignant, thresholds.malignant].map(percent);
        lines.push(`Flagged: malignant probability ${found} is above the ${alert} alert threshold.`);
    }
    return lines;
}

function bars(probabilities) {
    const rows = Object.entries(probabilities).map(([name, share]) => {
        const bar = element("span", { className: name });
        bar.style.width = `${100 * share}%`;
        const heading = element("th", { scope: "row" }, name);
        return element("tr", {}, heading, element("td", {}, bar), element("td", {}, percent(share)));
    });
    const caption = element("caption", {}, "Class probabilities");
    return element("table", {}, caption, ...rows);
}

// Returns how many steps each pixel of a mask is from the outside, which begins beyond the image's edge too.
function depths(mask, { width, height }) {
    const depth = new Uint16Array(mask.length);
    const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : depth[y * width + x]);
    for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
            if (mask[y * width + x]) depth[y * width + x] = 1 + Math.min(at(x - 1, y), at(x, y - 1));
        }
    }
    for (let y = height - 1; y >= 0; y--) {
        for (let x = width - 1; x >= 0; x--) {
            const here = y * width + x;
            if (mask[here]) depth[here] = Math.min(depth[here], 1 + Math.min(at(x + 1, y), at(x, y + 1)));
        }
    }
    return depth;
}

// Draws an image, its mask tinted and outlined.
function draw(canvas, { image, mask }, outlined) {
    const { pixels, width, height } = image;
    Object.assign(canvas, { width, height });
    const depth = mask && outlined && depths(mask, image);
    const line = Math.max(1, round(Math.max(width, height) / 250));
    const drawn = new ImageData(width, height);
    for (let i = 0; i < pixels.length; i++) {
        const share = !depth || !depth[i] ? 0 : depth[i] <= line ? 1 : 0.25;
        for (let c = 0; c < 3; c++) drawn.data[4 * i + c] = pixels[i] + share * (ORANGE[c] - pixels[i]);
        drawn.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(drawn, 0, 0);
}

function show(model, prediction, name) {
    const lines = explanation(model, prediction).map((line) => element("p", {}, line));
    const title = element("p", { className: "headline" }, headline(prediction));
    const words = element("div", {}, element("p", { className: "name" }, name), title, ...lines);
    const card = part("result");
    card.className = `verdict ${prediction.label ?? ""} ${prediction.flagged ? "flagged" : ""}`;
    card.replaceChildren(words, ...(prediction.label ? [bars(prediction.probabilities)] : []));
    const overlay = part("overlay");
    overlay.setAttribute("aria-label", `${name}: ${headline(prediction)}`);
    const redraw = () => draw(overlay, prediction, part("outline").checked);
    part("outline").onchange = redraw;
    redraw();
    part("figure").querySelector("figcaption").hidden = !prediction.lesions;
    part("figure").hidden = false;
    part("anyway").hidden = Boolean(prediction.label);
}

const tell = (sentence) => {
    part("told").className = "";
    part("told").textContent = sentence;
};

async function answer(file, options) {
    for (const id of ["figure", "anyway"]) part(id).hidden = true;
    part("result").replaceChildren();
    try {
        tell("Loading the network…");
        const loaded = await network;
        tell("Analysing…");
        show(loaded.model, await analyse(loaded, file, options), file.name);
        tell("");
    } catch (error) {
        tell(error instanceof Told ? error.message : `The image could not be analysed (${error.message}). Try again.`);
    }
    part("anyway").onclick = () => answer(file, { anyway: true });
}

function listen() {
    let turn = Promise.resolve();
    const choose = ([file]) => {
        if (file) turn = turn.then(() => answer(file));
    };
    part("file").onchange = ({ target }) => choose(target.files);
    addEventListener("paste", ({ clipboardData }) => choose(clipboardData.files));
    for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
        addEventListener(kind, (event) => {
            event.preventDefault();
            document.body.classList.toggle("over", over);
            if (kind === "drop") choose(event.dataTransfer.files);
        });
    }
    part("choose").hidden = false;
}

export const network = load();

tell("");
listen();
network.then(
    // From now on the page works without a network.
    () => navigator.serviceWorker?.register("sw.js").catch(() => {}),
    (error) => {
        part("choose").hidden = true;
        tell(error.message);
    },
);
