() => {
    const TEXT = "input:not([type=range], [type=checkbox], [type=radio]), textarea, [contenteditable]";
    const { limits: LIMITS, endings: ENDINGS, results: RESULTS } = __FILES__;
    const ORDER = new Intl.Collator("en", { numeric: true });
    // What Gradio leaves out for screen readers and the keyboard: names of the button around an image and of the
    // place where one is missing; a way to scroll a table without a mouse.
    const name = () => {
        for (const file of document.querySelectorAll(".file-preview .filename")) {
            const whole = file.getAttribute("aria-label");
            if (file.title !== whole) file.title = whole;
        }
        for (const button of document.querySelectorAll("button:not([aria-label]):has(> .image-frame)")) {
            const label = button.closest(".block")?.querySelector("[data-testid='block-label']");
            button.setAttribute("aria-label", label?.textContent.trim() || "Image");
        }
        for (const empty of document.querySelectorAll("div.empty[aria-label]:not([role])")) {
            empty.setAttribute("role", "img");
        }
        for (const table of document.querySelectorAll(".virtual-table-viewport:not(:has([tabindex='0']))")) {
            table.querySelector("[role=gridcell], [role=columnheader], th, td")?.setAttribute("tabindex", "0");
        }
    };
    // A sentence of the page itself, until the next image or a click on it.
    const tell = (sentence) => {
        document.querySelector("#told")?.remove();
        const told = Object.assign(document.createElement("p"), { id: "told", textContent: sentence });
        told.setAttribute("role", "alert");
        told.addEventListener("click", () => told.remove());
        document.body.append(told);
    };
    // Why files are refused before they are uploaded, or nothing.
    const refused = (box, files) => {
        const limit = LIMITS[box];
        const megabytes = files.reduce((sum, file) => sum + file.size, 0) / 1024 ** 2;
        if (!limit || (files.length <= limit.files && megabytes <= limit.megabytes)) return "";
        return limit.told.replace("{megabytes}", megabytes.toFixed(1)).replace("{files}", files.length);
    };
    // Files that come from elsewhere on the page go where they are uploaded.
    const put = async (box, files) => {
        if (!files.length) return;
        // A folder comes in no order.
        if (box === "#batch-images") files.sort((one, other) => ORDER.compare(one.name, other.name));
        const sentence = refused(box, files);
        if (sentence) return tell(sentence);
        const input = () => document.querySelector(`${box} input[type=file]`);
        document.querySelector(".strip :focus")?.blur();
        const clear = !input() && document.querySelector(`${box} button[aria-label='Clear']`);
        // The visitor did not clear the image: what was typed as its pixel size is kept.
        window.replacing = box === "#image" && Boolean(clear);
        if (clear) clear.click();
        for (let tries = 0; !input() && tries < 100; tries++) {
            await new Promise((done) => setTimeout(done, 20));
        }
        if (!input()) return;
        const transfer = new DataTransfer();
        for (const file of files) transfer.items.add(file);
        input().files = transfer.files;
        input().dispatchEvent(new Event("change", { bubbles: true }));
    };
    // What a folder holds: images and zips, without hidden files and results of an earlier run. DICOM files
    // often have no ending.
    const usable = async (file) => {
        const [, stem, ending] = /^(.*?)(\.[^.]*)?$/s.exec(file.name.toLowerCase());
        const result = RESULTS.some((name) => [stem, file.name].some((each) => new RegExp(name, "i").test(each)));
        if (file.name.startsWith(".") || result) return false;
        return ENDINGS.includes(ending) || (await file.slice(128, 132).text()) === "DICM";
    };
    const named = (file, path) => new File([file], path.replaceAll("/", "__"), { type: file.type });
    const kept = async (files, path) => {
        const found = [];
        for (const file of files) if (await usable(file)) found.push(named(file, path(file)));
        return found;
    };
    const walked = async (entry) => {
        if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
        const reader = entry.createReader(), entries = [];
        for (let some = [null]; some.length;) {
            some = await new Promise((done, failed) => reader.readEntries(done, failed));
            entries.push(...some);
        }
        const found = [];
        for (const each of entries.filter((each) => !each.name.startsWith("."))) {
            const files = await walked(each);
            found.push(...(each.isFile ? await kept(files, () => each.fullPath.slice(1)) : files));
        }
        return found;
    };
    const chooser = (box, attributes) => {
        const input = Object.assign(document.createElement("input"), { type: "file", ...attributes });
        input.addEventListener("change", async () => {
            const files = [...input.files];
            await put(box, input.webkitdirectory ? await kept(files, (file) => file.webkitRelativePath) : files);
            input.value = "";
        });
        return input;
    };
    const image = chooser("#image", {}), folder = chooser("#batch-images", { webkitdirectory: true });
    const seen = (box) => document.querySelector(box)?.offsetParent;
    // A click on the result corrects its outline while that is chosen, instead of choosing a file; for the
    // keyboard there is a cross, in shares of the image's width and height.
    let clicks = 0;
    const cross = Object.assign(document.createElement("div"), { id: "cross", at: [0.5, 0.5] });
    const correcting = (event) => {
        const mode = document.querySelector("#correct-mode");
        return event.target.closest?.("#overlay .image-frame, #overlay button:has(> .image-frame)")
            && mode?.checkVisibility() && mode.querySelector("input:checked")?.value !== "Brush";
    };
    // Where the image of a panel lies on the page: it fills its element without being stretched.
    const placed = (panel) => {
        const image = document.querySelector(`${panel} img`), box = image.getBoundingClientRect();
        const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
        const width = scale * image.naturalWidth, height = scale * image.naturalHeight;
        return {
            image, scale, width, height,
            left: box.left + scrollX + (box.width - width) / 2,
            top: box.top + scrollY + (box.height - height) / 2,
        };
    };
    const correct = async (event) => {
        // An image that was drawn anew has no size until it is loaded.
        await document.querySelector("#overlay img").decode().catch(() => {});
        const { left, top, width, height } = placed("#overlay");
        // The keyboard clicks without a place.
        const at = event.detail ? [(event.pageX - left) / width, (event.pageY - top) / height] : cross.at;
        if (!at.every((share) => share >= 0 && share < 1)) return;
        const input = document.querySelector("#clicked :is(input, textarea)");
        // Numbered, so that a second click at the same place is a change, too.
        clicks += 1;
        input.value = String([...at, clicks]);
        input.dispatchEvent(new Event("input", { bubbles: true }));
    };
    document.addEventListener("keydown", (event) => {
        const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
        const way = arrows[event.key];
        if (!way || !correcting(event)) return;
        event.preventDefault();
        const { image, left, top, width, height } = placed("#overlay");
        cross.at = cross.at.map((share, axis) => Math.min(Math.max(share + 0.02 * way[axis], 0), 0.999));
        const frame = image.closest("button") ?? image.parentElement;
        const around = frame.getBoundingClientRect();
        frame.append(cross);
        cross.style.left = `${left - scrollX - around.left + cross.at[0] * width}px`;
        cross.style.top = `${top - scrollY - around.top + cross.at[1] * height}px`;
    });
    document.addEventListener("focusout", (event) => { if (event.target.closest?.("#overlay")) cross.remove(); });
    document.addEventListener("click", (event) => {
        if (correcting(event)) return correct(event);
        if (event.target.closest?.("#batch-folder")) return folder.click();
        // The buttons of a panel keep their own meaning; an image in full screen is looked at.
        if ("crop" in document.body.dataset) return;
        const panel = event.target.closest?.("#original, #overlay");
        const own = event.target.closest?.("button:not(:has(> .image-frame)), a");
        if (panel && !own && !panel.querySelector(".fullscreen") && !document.fullscreenElement) image.click();
    });
    document.addEventListener("change", (event) => {
        const input = event.target, box = input.closest?.("#image, #batch-images, #reference");
        const sentence = box && input.type === "file" && refused(`#${box.id}`, [...input.files]);
        if (!sentence) return;
        event.stopImmediatePropagation();
        input.value = "";
        tell(sentence);
    }, true);
    document.addEventListener("dragover", (event) => {
        if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    });
    document.addEventListener("drop", async (event) => {
        const files = [...(event.dataTransfer?.files ?? [])], target = event.target;
        // An upload of another kind takes its own.
        const other = target.closest?.(".block:not(#image, #batch-images)")?.querySelector("input[type=file]");
        if (!files.length || other) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        // Ends the mark that Gradio sets while something is dragged over an upload.
        target.dispatchEvent(new DragEvent("drop", { bubbles: true }));
        if (seen("#image")) return put("#image", files.slice(0, 1));
        if (!seen("#batch-images")) return;
        const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
        if (!entries.some((entry) => entry.isDirectory)) return put("#batch-images", files);
        put("#batch-images", (await Promise.all(entries.map(walked))).flat());
    }, true);
    document.addEventListener("paste", (event) => {
        const files = [...(event.clipboardData?.files ?? [])];
        if (!files.length || event.target.closest?.(TEXT)) return;
        event.preventDefault();
        if (!seen("#image")) document.querySelector("button[role=tab]").click();
        put("#image", files.slice(0, 1));
    });
    // A click on the timeline of a clip, or on the button of a frame, moves the slider of the frame.
    document.addEventListener("click", (event) => {
        const target = event.target.closest?.("#clip [data-frame], #clip svg");
        const number = document.querySelector("#clip-frame input[type=number]");
        if (!target || !number) return;
        const box = target.getBoundingClientRect();
        const clicked = Math.ceil((event.clientX - box.left) / box.width * target.viewBox?.baseVal.width);
        number.value = target.dataset.frame ?? Math.min(Math.max(clicked, 1), number.max);
        number.dispatchEvent(new Event("input", { bubbles: true }));
    });
    document.addEventListener("input", (event) => {
        const slider = event.target.closest?.("#clip-frame input");
        if (!slider) return;
        document.querySelector("#clip")?.style.setProperty("--frame", (slider.value - 0.5) / slider.max);
    });
    // The crop tool: a box over the original, in pixels of the image; it starts where the scan is.
    const frame = document.body.appendChild(Object.assign(document.createElement("div"), { id: "crop-frame" }));
    const field = () => document.querySelector("#crop-box :is(textarea, input)");
    const showFrame = () => {
        if (!("crop" in document.body.dataset) || !document.querySelector("#original img")) return;
        const [left, top, right, bottom] = field().value.split(",").map(Number), at = placed("#original");
        Object.assign(frame.style, {
            left: `${at.left + at.scale * left}px`, top: `${at.top + at.scale * top}px`,
            width: `${at.scale * (right - left)}px`, height: `${at.scale * (bottom - top)}px`,
        });
    };
    const pixel = (event) => {
        const { image, scale, left, top } = placed("#original");
        const within = (value, most) => Math.round(Math.min(Math.max(value / scale, 0), most));
        return [
            within(event.pageX - left, image.naturalWidth), within(event.pageY - top, image.naturalHeight),
        ];
    };
    let from = null;
    document.addEventListener("click", (event) => {
        if (event.target.closest?.("#crop-cancel")) delete document.body.dataset.crop;
        if (event.target.closest?.("#crop-start")) {
            document.body.dataset.crop = "";
            showFrame();
        }
    });
    document.addEventListener("pointerdown", (event) => {
        if (!("crop" in document.body.dataset) || !event.target.closest?.("#original")) return;
        event.preventDefault();
        from = pixel(event);
    });
    document.addEventListener("pointermove", (event) => {
        if (!from) return;
        const [x, y] = pixel(event);
        field().value = [
            Math.min(x, from[0]), Math.min(y, from[1]), Math.max(x, from[0]), Math.max(y, from[1]),
        ].join(",");
        showFrame();
    });
    document.addEventListener("pointerup", () => {
        if (from) field().dispatchEvent(new Event("input", { bubbles: true }));
        from = null;
    });
    addEventListener("resize", showFrame);
    new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
    name();
}
