// What busi_unet.inference.Predictor does, in the browser: the image never leaves it.

const VERSION = new URL(import.meta.url).search;
const MAX_PIXELS = 50_000_000;
const MIN_SIDE = 16;
const OTHER_BROWSER = "Use a current Chrome, Edge, Firefox or Safari.";

// An error whose message is a sentence for whoever chose the image.
export class Told extends Error {}

// --- The network -----------------------------------------------------------------------------------

// Returns an asset as bytes; some servers unpack a .gz on its way.
async function unpacked(name) {
    const response = await fetch(name + VERSION);
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Returns what analyses images: the ONNX runtime, its session, and the model's parameters.
export async function load() {
    for (const name of ["WebAssembly", "DecompressionStream", "createImageBitmap"]) {
        if (!(name in globalThis)) throw new Told(`This browser has no ${name}, which this page needs. ${OTHER_BROWSER}`);
    }
    try {
        const [ort, model, runtime, network] = await Promise.all([
            import("./ort.wasm.min.mjs" + VERSION),
            fetch("model.json" + VERSION).then((response) => response.json()),
            unpacked("ort-wasm-simd-threaded.wasm.gz"),
            unpacked("model.onnx.gz"),
        ]);
        Object.assign(ort.env.wasm, {
            wasmBinary: runtime.buffer,
            wasmPaths: { mjs: new URL("ort-wasm-simd-threaded.mjs" + VERSION, import.meta.url).href },
            // More threads need shared memory, which a browser gives to isolated pages alone.
            // In a worker, so that the page can be used meanwhile.
            proxy: true,
            numThreads: crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1,
        });
        return { ort, model, session: await ort.InferenceSession.create(network) };
    } catch (error) {
        throw new Told(`The network could not be loaded (${error.message}). Reload the page. ${OTHER_BROWSER}`);
    }
}

// --- An image, as busi_unet.io.decode reads it ------------------------------------------------------

// Returns the grey levels of an image file; transparency is laid over black.
async function decode(file) {
    const head = new DataView(await file.slice(0, 26).arrayBuffer());
    if (head.byteLength === 26 && head.getUint32(0) === 0x89504e47 && head.getUint8(24) === 16) {
        throw new Told("The image has 16 bits a pixel, of which a browser shows 8. Save it as an 8-bit PNG.");
    }
    let bitmap;
    try {
        const asStored = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
        bitmap = await createImageBitmap(file, asStored);
    } catch {
        throw new Told("This is not an image that the browser can read. Use PNG, JPEG, WebP, BMP or GIF.");
    }
    const { width, height } = bitmap;
    if (Math.min(width, height) < MIN_SIDE) throw new Told(`The image has ${width}×${height} pixels, too small to analyse.`);
    if (width * height > MAX_PIXELS) throw new Told(`The image is far too large (${width}×${height} pixels).`);
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    const pixels = new Uint8Array(width * height);
    for (let i = 0, at = 0; i < pixels.length; i++, at += 4) {
        pixels[i] = (19595 * data[at] + 38470 * data[at + 1] + 7471 * data[at + 2] + 0x8000) >> 16;
    }
    return { pixels, width, height };
}

// --- busi_unet.inference.preprocess -----------------------------------------------------------------

// Returns for each new pixel along a side where it begins and the weights of the old ones: Pillow's bilinear
// filter, which widens as the image shrinks.
function taps(from, to, unit) {
    const scale = from / to;
    const reach = Math.max(scale, 1);
    return Array.from({ length: to }, (_, place) => {
        const centre = (place + 0.5) * scale;
        const start = Math.max(0, Math.trunc(centre - reach + 0.5));
        const count = Math.min(from, Math.trunc(centre + reach + 0.5)) - start;
        const weight = (_, i) => Math.max(0, 1 - Math.abs((start + i - centre + 0.5) * (1 / reach)));
        const weights = Array.from({ length: count }, weight);
        const sum = weights.reduce((total, each) => total + each, 0);
        // Pillow reckons bytes in fixed point.
        return { start, weights: weights.map((each) => (unit === 1 ? each / sum : Math.trunc(0.5 + (each / sum) * unit))) };
    });
}

// Returns an array (height, width) of bytes or floats resized, to the bit as Pillow does it.
function resize(values, [height, width], [newHeight, newWidth]) {
    const unit = values instanceof Uint8Array ? 2 ** 22 : 1;
    const stored = unit === 1 ? (sum) => sum : (sum) => (sum + unit / 2) >> 22;
    const across = taps(width, newWidth, unit);
    const down = taps(height, newHeight, unit);
    const between = new values.constructor(height * newWidth);
    for (let y = 0; y < height; y++) {
        for (let x = 0; x < newWidth; x++) {
            const { start, weights } = across[x];
            let sum = 0;
            for (let i = 0, at = y * width + start; i < weights.length; i++) sum += values[at + i] * weights[i];
            between[y * newWidth + x] = stored(sum);
        }
    }
    const result = new values.constructor(newHeight * newWidth);
    const row = new Float64Array(newWidth);
    for (let y = 0; y < newHeight; y++) {
        const { start, weights } = down[y];
        row.fill(0);
        for (let i = 0, at = start * newWidth; i < weights.length; i++, at += newWidth) {
            for (let x = 0; x < newWidth; x++) row[x] += between[at + x] * weights[i];
        }
        for (let x = 0; x < newWidth; x++) result[y * newWidth + x] = stored(row[x]);
    }
    return result;
}

// Rounds a half to the even number, as Python does.
export const round = (value) => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

// Returns where an image lies in the square network input.
function boxOf({ width, height }, size) {
    const scale = size / Math.max(width, height);
    const [newHeight, newWidth] = [height, width].map((side) => Math.max(1, round(scale * side)));
    return { top: (size - newHeight) >> 1, left: (size - newWidth) >> 1, height: newHeight, width: newWidth };
}

// Returns the network input: the image on black, and its mirror image where the model wants it too.
function prepare(image, box, { size, mirror, mean, std }) {
    const small = resize(image.pixels, [image.height, image.width], [box.height, box.width]);
    const batch = new Float32Array((mirror ? 2 : 1) * size * size).fill(-mean / std);
    for (let y = 0; y < box.height; y++) {
        for (let x = 0; x < box.width; x++) {
            const value = (small[y * box.width + x] / 255 - mean) / std;
            const [row, column] = [(box.top + y) * size, box.left + x];
            batch[row + column] = value;
            if (mirror) batch[size * size + row + size - 1 - column] = value;
        }
    }
    return batch;
}

// --- busi_unet.inference.predictor ------------------------------------------------------------------

// Returns what the network says of an image: lesion probability in the box, class logits, features.
async function run({ ort, model, session }, image) {
    const { size } = model.preprocess;
    const box = boxOf(image, size);
    const batch = prepare(image, box, model.preprocess);
    const count = batch.length / size ** 2;
    const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", batch, [count, 1, size, size]) };
    const found = await session.run(feeds);
    // Averaged over the image and its mirror image.
    const mean = ({ data }) => {
        const length = data.length / count;
        return Array.from({ length }, (_, i) => (count === 1 ? data[i] : (data[i] + data[length + i]) / 2));
    };
    const maps = found.probability.data;
    const probability = new Float32Array(box.height * box.width);
    for (let y = 0; y < box.height; y++) {
        for (let x = 0; x < box.width; x++) {
            const [row, column] = [(box.top + y) * size, box.left + x];
            const value = maps[row + column];
            const mirrored = count === 1 ? value : maps[size * size + row + size - 1 - column];
            probability[y * box.width + x] = (value + mirrored) / 2;
        }
    }
    return { box, probability, classLogits: mean(found.class_logits), features: mean(found.features) };
}

// Returns the prediction for an image file, as Predictor.predict does.
export async function analyse(network, file, { anyway = false } = {}) {
    const image = await decode(file);
    return interpret(network.model, image, await run(network, image), anyway);
}

function interpret(model, image, raw, anyway) {
    const { thresholds, calibration, class_names: names } = model;
    const reasons = reasonsToRefuse(model, image, raw);
    if (reasons.length && !anyway) return { image, reasons, refused: true };
    const shares = calibrated(raw.classLogits, mapPeak(raw.probability), calibration.classes);
    const probabilities = Object.fromEntries(names.map((name, i) => [name, shares[i]]));
    const label = names.reduce((best, name) => (probabilities[name] > probabilities[best] ? name : best));
    const shape = [image.height, image.width];
    const probability = resize(raw.probability, [raw.box.height, raw.box.width], shape);
    const { mask, lesions } =
        1 - probabilities.normal < thresholds.lesion
            ? { mask: new Uint8Array(probability.length), lesions: 0 }
            : maskOf(probability, image, thresholds);
    const flagged = probabilities.malignant >= thresholds.malignant;
    return { image, reasons, refused: reasons.length > 0, probabilities, label, probability, mask, lesions, flagged };
}

function reasonsToRefuse({ ood, calibration, words }, { pixels }, { features }) {
    let [low, high] = [255, 0];
    for (const value of pixels) {
        if (value < low) low = value;
        if (value > high) high = value;
    }
    if (high - low < 8) return [words.blank];
    return ood && distance(ood, features) > calibration.ood_threshold ? [words.out_of_distribution] : [];
}

// busi_unet.models.ood.OodDetector.distance
function distance({ mean, scale, components, variances, residual, other, other_bias: bias }, features) {
    const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
    const deviation = features.map((value, i) => (value - mean[i]) / scale[i]);
    const along = components.map((component) => dot(component, deviation));
    const across = deviation.map((value, i) => value - components.reduce((sum, each, k) => sum + along[k] * each[i], 0));
    const total = along.reduce((sum, value, k) => sum + value ** 2 / variances[k], dot(across, across) / residual[0]);
    return Math.sqrt(total / mean.length) + Math.max(0, dot(other, deviation) + bias[0]);
}

// busi_unet.inference.calibration.map_peak
function mapPeak(probability) {
    const count = Math.max(1, round(0.005 * probability.length));
    return probability.slice().sort().subarray(-count).reduce((sum, value) => sum + value, 0) / count;
}

// busi_unet.inference.calibration.calibrated_probabilities
function calibrated([normal, benign, malignant], peak, weights) {
    const expit = (value) => 1 / (1 + Math.exp(-value));
    const most = Math.max(benign, malignant);
    const head = most + Math.log1p(Math.exp(Math.min(benign, malignant) - most)) - normal;
    const share = Math.min(Math.max(peak, 1e-4), 1 - 1e-4);
    const map = Math.log(share / (1 - share));
    const lesion = expit(weights.lesion_head * head + weights.lesion_map * map + weights.lesion_bias);
    const second = expit(weights.malignant_head * (malignant - benign) + weights.malignant_bias);
    return [1 - lesion, lesion * (1 - second), lesion * second];
}

// --- busi_unet.inference.preprocess -----------------------------------------------------------------

const BESIDE = [[0, -1], [0, 1], [-1, 0], [1, 0]];
const AROUND = [...BESIDE, [-1, -1], [-1, 1], [1, -1], [1, 1]];

// Returns the mask of a lesion probability map, holes filled and specks left out, and its number of lesions.
function maskOf(probability, { width, height }, thresholds) {
    const mask = Uint8Array.from(probability, (value) => value >= thresholds.mask);
    const box = boundingBox(mask, width);
    const edge = (place) => {
        const [x, y] = [place % width, Math.floor(place / width)];
        return x === box.left || x === box.right || y === box.top || y === box.bottom;
    };
    for (const hole of regions(mask, width, box, 0, BESIDE)) {
        if (!hole.some(edge)) for (const place of hole) mask[place] = 1;
    }
    let lesions = 0;
    for (const lesion of regions(mask, width, box, 1, AROUND)) {
        if (lesion.length >= Math.max(1, thresholds.min_area * width * height)) lesions++;
        else for (const place of lesion) mask[place] = 0;
    }
    return { mask, lesions };
}

// Returns the first and last rows and columns of what is not 0.
function boundingBox(mask, width) {
    const box = { top: Infinity, left: Infinity, bottom: -1, right: -1 };
    for (let at = 0; at < mask.length; at++) {
        if (!mask[at]) continue;
        const [x, y] = [at % width, Math.floor(at / width)];
        box.top = Math.min(box.top, y);
        box.bottom = y;
        box.left = Math.min(box.left, x);
        box.right = Math.max(box.right, x);
    }
    return box;
}

// Returns the regions of a value in a box, as the places of their pixels.
function regions(mask, width, { top, left, bottom, right }, value, neighbours) {
    const found = [];
    const open = mask.map((each) => each === value);
    for (let row = top; row <= bottom; row++) {
        for (let start = row * width + left; start <= row * width + right; start++) {
            if (!open[start]) continue;
            const places = [start];
            open[start] = 0;
            for (let next = 0; next < places.length; next++) {
                const [x, y] = [places[next] % width, Math.floor(places[next] / width)];
                for (const [dx, dy] of neighbours) {
                    const at = places[next] + dy * width + dx;
                    if (x + dx < left || x + dx > right || y + dy < top || y + dy > bottom || !open[at]) continue;
                    open[at] = 0;
                    places.push(at);
                }
            }
            found.push(places);
        }
    }
    return found;
}
