import type { Usable } from './round-robin.ts'

/** A route cookie names the owner and its backups; more than these are not looked at. */
const LABELS_MAX = 8
const LABEL = /^[A-Za-z0-9_~-]{1,128}$/

/** What a server may call itself. */
export function isLabel(text: string): boolean {
  return LABEL.test(text)
}

/**
 * The first label of `owner.backup1.backup2…` whose server is usable, else -1. Labels are looked up among the gateway's own
 * servers; unknown and forged ones lead nowhere.
 */
export function sticky(route: string, serverOf: (label: string) => number, usable: Usable): number {
  for (const label of route.split('.', LABELS_MAX)) {
    const index = serverOf(label)
    if (index >= 0 && usable(index)) return index
  }
  return -1
}

/** The first cookie of this name in a Cookie header. */
export function cookieOf(header: string, name: string): string | undefined {
  let from = 0
  while (from < header.length) {
    const semicolon = header.indexOf(';', from)
    const end = semicolon === -1 ? header.length : semicolon
    while (header.charCodeAt(from) === 0x20) from++
    if (header.startsWith(name, from) && header[from + name.length] === '=') return header.slice(from + name.length + 1, end).trim()
    from = end + 1
  }
  return undefined
}

/** Is there a cookie of any other name? Empty pairs and repeats of this one count nothing. */
export function hasOtherCookie(header: string, name: string): boolean {
  return header.split(';').some((pair) => pair.trim() !== '' && !pair.trimStart().startsWith(`${name}=`))
}
