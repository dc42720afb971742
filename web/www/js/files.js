// Files from pickers and drops: photos, folders of photos, and model files.

const PHOTO_ENDINGS = /\.(jpe?g|jfif|png|webp|gif|bmp|avif|hei[cf]|tiff?)$/i;
const MODEL_ENDING = /\.safetensors$/i;

export const isModelFile = (file) => MODEL_ENDING.test(file.name);

/** Leaves out what folders hold besides photos, such as `.DS_Store` and `Thumbs.db`. */
export const isPhoto = (file) =>
  !file.name.startsWith(".") && (file.type.startsWith("image/") || PHOTO_ENDINGS.test(file.name));

/** A name in the one form names are compared in: folders from macOS come decomposed. */
export const className = (name) => name.normalize("NFC").trim();

/** Whether something dragged over the page holds files at all. */
export const holdsFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;

/**
 * The files of a drop, folders walked through, each with the folders it lay in.
 * Must be called within the drop event: its items are gone afterwards.
 * @returns {Promise<{ file: File, folders: string[] }[]>}
 */
export async function filesOfDrop(dataTransfer) {
  const entries = [...dataTransfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const entry of entries) {
    if (entry instanceof File) found.push({ file: entry, folders: [] });
    else if (entry) await walk(entry, [], found);
  }
  return found;
}

async function walk(entry, folders, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, folders });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A reader hands out a hundred entries at a time, and none when it is through.
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (batch.length === 0) return;
    for (const child of batch) await walk(child, [...folders, entry.name], found);
  }
}

/** The files of a folder picker, in the same form as those of a drop. */
export function filesOfFolderPicker(files) {
  return [...files].map((file) => ({
    file,
    folders: file.webkitRelativePath.split("/").slice(0, -1),
  }));
}

/**
 * Sorts photos into classes by the folder each lies in.
 * @returns {Map<string, File[]>} photos by folder name; those in no folder under ""
 */
export function byFolder(found) {
  const classes = new Map();
  for (const { file, folders } of found) {
    if (!isPhoto(file)) continue;
    const name = className(folders.at(-1) ?? "");
    if (!classes.has(name)) classes.set(name, []);
    classes.get(name).push(file);
  }
  return classes;
}

/** Offers bytes to the visitor as a file. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
