// Starts the boards in ComfyUI.
import * as host from "./board/host.js";
import { startBoards } from "./board/boards.js";
import * as store from "./board/store.js";

const style = document.createElement("link");
style.rel = "stylesheet";
style.href = new URL("./board/board.css", import.meta.url).href;
document.head.append(style);

startBoards(host, store);
