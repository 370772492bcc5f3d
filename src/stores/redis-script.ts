import { createHash } from 'node:crypto'

export interface RedisScript {
  readonly text: string
  readonly sha1: string
  /** The names of sessions that it wrote, by its reply: each is read and then written, so each is echoed once. */
  readonly written?: Written
}

export type Written = (reply: unknown, keys: readonly string[], args: readonly string[]) => readonly string[]

export function script(text: string, written?: Written): RedisScript {
  const sha1 = createHash('sha1').update(text).digest('hex')
  return written === undefined ? { text, sha1 } : { text, sha1, written }
}

export const NONE: readonly string[] = []
/** The first keys, when the reply is `1` or begins with `a`. */
export function firstKeys(count: number): Written {
  return (reply, keys) =>
    String(Array.isArray(reply) ? reply[0] : reply) === (Array.isArray(reply) ? 'a' : '1') ? keys.slice(0, count) : NONE
}
