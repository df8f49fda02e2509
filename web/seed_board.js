// Seed boards in ComfyUI's frontend: the file that ComfyUI loads.
import { startBoards } from "./board/boards.js";
import * as host from "./board/host.js";
import * as store from "./board/store.js";

host.addStyle("./board.css");
host.addStyle("./page.css");
export const boards = startBoards(host, store);
