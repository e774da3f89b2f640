// Keeps the files of one version of the page, so that it works without a network.
const CACHE = "busi-unet __VERSION__";
const FILES = __FILES__;

// The page has just loaded those with a version in their address; they are not sent again.
const request = (file) => new Request(file, { cache: file.includes("?") ? "force-cache" : "no-cache" });

self.addEventListener("install", (event) => {
    self.skipWaiting();
    event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES.map(request))));
});
self.addEventListener("activate", (event) => {
    const isOlder = (name) => name.startsWith("busi-unet ") && name !== CACHE;
    const clean = async () => Promise.all((await caches.keys()).filter(isOlder).map((name) => caches.delete(name)));
    event.waitUntil(clean());
});
self.addEventListener("fetch", (event) => {
    const answer = async () => (await (await caches.open(CACHE)).match(event.request)) ?? fetch(event.request);
    event.respondWith(answer());
});
