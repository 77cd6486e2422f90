/** The standard input of a process, through a hijacked connection. */
import type { Socket } from "node:net";

/**
 * Writes to a connection; resolves when it takes more. Bytes for a process that has ended are discarded;
 * the reader of the connection reports its errors.
 */
export async function writeStdin(socket: Socket, data: Uint8Array): Promise<void> {
  if (!socket.writable || socket.write(data)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      socket.off("drain", done).off("close", done).off("end", done);
      resolve();
    };
    socket.on("drain", done).on("close", done).on("end", done);
  });
}

/**
 * Keys that end a terminal's attachment cannot be turned off, and dockerd takes them out of the input: by
 * default Ctrl-P, held back until the next key, and Ctrl-Q. This is a key sequence that no user types.
 */
export const unusedDetachKeys = Array.from({ length: 16 }, () => "ctrl-^").join(",");
