/** What the server refused, in a form that can be shown. */

import { ERROR_CODES } from "./protocol";

export type ErrorKind = keyof typeof ERROR_CODES;

/** The kind of an error that the server answered with, or undefined for any other error. */
export function kindOf(error: unknown): ErrorKind | undefined {
  const data = (error as { data?: { kind?: unknown } } | null)?.data;
  return typeof data?.kind === "string" && data.kind in ERROR_CODES ? (data.kind as ErrorKind) : undefined;
}

/** Return an error's message, and what to do about it where the server says so. */
export function explain(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const hint = (error as { data?: { hint?: unknown } } | null)?.data?.hint;
  return typeof hint === "string" && hint ? `${message} ${hint}` : message;
}
