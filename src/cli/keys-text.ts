/** The text of a key file and the three steps of a rotation (`docs/cookie-security.md`): what they change, nothing else. */
import { secretsIn } from '../key-file.ts'

const HEAD = [
  '# Secrets of holdfast sessions, the newest first: the first makes new cookies, all verify. Keep this file to yourself (mode 0600).',
  '# A rotation is three times "holdfast keys rotate FILE", each time on all servers before the next.',
]
const WAITS = 'waits to be promoted, added'
const SEALS = 'makes new cookies since'
const VERIFIES = 'only verifies since'

export interface RotationOptions {
  readonly now: number
  /** The longest absolute lifetime of a session. */
  readonly absoluteMs: number
  /** Remove before the sessions made with the old secret have ended. */
  readonly force: boolean
}

export interface Rotation {
  readonly text: string
  readonly step: 'add' | 'promote' | 'remove'
  readonly next: string
}

interface Line {
  readonly secret: string
  readonly comment: string
}

export function newKeyFile(secret: string, now: number): string {
  return textOf([{ secret, comment: `${SEALS} ${timeOf(now)}` }])
}

/** The step that is due. Throws, with what to do, where it is too early. */
export function rotated(text: string, newSecret: string, options: RotationOptions): Rotation {
  const lines = linesOf(text)
  const waiting = lines.find(({ comment }) => comment.startsWith(WAITS))
  if (waiting !== undefined) return promoted(lines, waiting, options)
  return lines.length > 1 ? removed(lines, options) : added(lines, newSecret, options)
}

function added(lines: readonly Line[], secret: string, { now }: RotationOptions): Rotation {
  return {
    text: textOf([...lines, { secret, comment: `${WAITS} ${timeOf(now)}` }]),
    step: 'add',
    next: 'A new secret verifies. Once all servers have this file, run it again: then it makes new cookies.',
  }
}

function promoted(lines: readonly Line[], waiting: Line, { absoluteMs, now }: RotationOptions): Rotation {
  const old = lines.filter((line) => line !== waiting).map(({ secret }) => ({ secret, comment: `${VERIFIES} ${timeOf(now)}` }))
  return {
    text: textOf([{ secret: waiting.secret, comment: `${SEALS} ${timeOf(now)}` }, ...old]),
    step: 'promote',
    next: `The new secret makes new cookies. Bring this file to all servers, and run it again after ${timeOf(now + absoluteMs)}: then the old one goes.`,
  }
}

function removed([first, ...old]: readonly Line[], { absoluteMs, force, now }: RotationOptions): Rotation {
  const { comment, secret } = first as Line
  const since = comment.startsWith(SEALS) ? Date.parse(comment.slice(SEALS.length).trim()) : Number.NaN
  if (!force && Number.isNaN(since)) {
    throw new Error(
      'The file does not say since when its first secret makes new cookies: sessions of the others may live. --force removes them.',
    )
  }
  if (!force && now < since + absoluteMs) {
    throw new Error(
      `Sessions made with the old secret live until ${timeOf(since + absoluteMs)}: run it again then, or --force to end them now.`,
    )
  }
  return {
    text: textOf([{ secret, comment }]),
    step: 'remove',
    next: `${old.length === 1 ? 'The old secret is' : `${old.length} old secrets are`} gone. Bring this file to all servers: the rotation is complete.`,
  }
}

/** Throws where a server would not take the file either. */
function linesOf(text: string): Line[] {
  secretsIn(text)
  return text
    .split(/\r?\n/)
    .map((line) => ({
      secret: line.split('#', 1)[0]?.trim() ?? '',
      comment: line.includes('#') ? line.slice(line.indexOf('#') + 1).trim() : '',
    }))
    .filter(({ secret }) => secret !== '')
}

function textOf(lines: readonly Line[]): string {
  return `${[...HEAD, ...lines.map(({ comment, secret }) => (comment === '' ? secret : `${secret}  # ${comment}`))].join('\n')}\n`
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}
