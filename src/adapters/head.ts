/** Puts what a commit asks for on an answer's head: on node's rendered text, or on a fetch `Headers`. */
import type { CommitResult } from '../types.ts'

/** Lists that grow; every other header is replaced. */
const APPENDED: ReadonlySet<string> = new Set(['vary', 'access-control-expose-headers'])
const LINES = new Map<string, RegExp>()
const REGEXP_SPECIAL = /[^a-z0-9-]/i

/** `head` is a whole HTTP/1 head: status line, header lines and the empty line, each ended by CRLF. */
export function amendHead(head: string, result: CommitResult): string {
  let amended = head
  for (const [name, value] of result.headers) amended = amendLine(amended, name, value)
  let added = ''
  for (const cookie of result.cookies) added += `Set-Cookie: ${cookie}\r\n`
  return added === '' ? amended : addLines(amended, added)
}

export function amendHeaders(headers: Headers, result: CommitResult): void {
  for (const [name, value] of result.headers) {
    const next = mergedValue(name, headers.get(name) ?? undefined, value)
    if (next !== undefined) headers.set(name, next)
  }
  for (const cookie of result.cookies) headers.append('set-cookie', cookie)
}

/** The value a header has afterwards; undefined when it may stay as it is. */
export function mergedValue(name: string, present: string | undefined, value: string): string | undefined {
  if (present === undefined || !APPENDED.has(name.toLowerCase())) return value
  const tokens = tokensOf(present)
  const known = new Set(tokens.map((token) => token.toLowerCase()))
  if (known.has('*')) return undefined
  const missing = tokensOf(value).filter((token) => !known.has(token.toLowerCase()))
  return missing.length === 0 ? undefined : [...tokens, ...missing].join(', ')
}

function amendLine(head: string, name: string, value: string): string {
  const lines = head.match(lineOf(name))
  if (lines === null) return addLines(head, `${name}: ${value}\r\n`)
  const present = lines.map((line) => line.slice(line.indexOf(':') + 1).trim()).join(', ')
  const next = mergedValue(name, present, value)
  return next === undefined ? head : addLines(head.replace(lineOf(name), ''), `${name}: ${next}\r\n`)
}

function addLines(head: string, lines: string): string {
  return `${head.slice(0, -2)}${lines}\r\n`
}

function lineOf(name: string): RegExp {
  let line = LINES.get(name)
  if (line === undefined) {
    if (REGEXP_SPECIAL.test(name)) throw new TypeError('A header name holds letters, digits and "-" only.')
    line = new RegExp(`(?<=\\r\\n)${name}:[^\\r]*\\r\\n`, 'gi')
    LINES.set(name, line)
  }
  return line
}

function tokensOf(list: string): string[] {
  return list
    .split(',')
    .map((token) => token.trim())
    .filter((token) => token !== '')
}
