/**
 * Secrets in a file that may change while the server runs. One secret a line, the newest first: the first makes new cookies, all
 * verify. What follows a `#` is a comment. `holdfast keys generate` and `holdfast keys rotate` write such files.
 */
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { SessionError } from './errors.ts'
import type { Runtime } from './seam.ts'
import type { SecretSource } from './types.ts'

const SECRET_BYTES_MIN = 32
const SECRETS_MAX = 16
const FILE_CHARS_MAX = 65_536
const EVERY_MS = 1_000

export interface KeyFileOptions {
  /** How often the file is looked at. Default 1,000. */
  readonly everyMs?: number
}

/**
 * `createSessions({ secrets: keyFile('session.keys') })`: a rotation needs no restart. A file that is missing or malformed is
 * CONFIG_INVALID at creation; later the secrets known before stay, and one warning says so.
 */
export function keyFile(path: string, { everyMs = EVERY_MS }: KeyFileOptions = {}): SecretSource {
  if (typeof path !== 'string' || path === '') throw new SessionError('CONFIG_INVALID', 'keyFile: give the path of a file.')
  if (!Number.isInteger(everyMs) || everyMs < 10)
    throw new SessionError('CONFIG_INVALID', 'keyFile: everyMs must be a whole number from 10.')
  return {
    read: () => secretsIn(readFileSync(path, 'utf8')),
    watch: (runtime, changed, logger) => watch(path, { everyMs, runtime, changed, logger }),
  }
}

/** Throws an Error whose message names the line and never shows it. */
export function secretsIn(text: string): string[] {
  if (text.length > FILE_CHARS_MAX) throw new Error(`it is longer than ${FILE_CHARS_MAX} characters`)
  const secrets: string[] = []
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const secret = line.split('#', 1)[0]?.trim() ?? ''
    if (secret === '') continue
    if (/\s/.test(secret)) throw new Error(`line ${index + 1} holds more than one word`)
    if (Buffer.byteLength(secret) < SECRET_BYTES_MIN)
      throw new Error(`the secret in line ${index + 1} is shorter than ${SECRET_BYTES_MIN} bytes`)
    if (secrets.includes(secret)) throw new Error(`line ${index + 1} repeats a secret`)
    secrets.push(secret)
  }
  if (secrets.length === 0) throw new Error('it holds no secret')
  if (secrets.length > SECRETS_MAX) throw new Error(`it holds more than ${SECRETS_MAX} secrets`)
  return secrets
}

interface Watching {
  readonly everyMs: number
  readonly runtime: Runtime
  readonly changed: (secrets: readonly string[]) => void
  readonly logger: Pick<Console, 'warn'>
}

/** By looking: file systems of containers announce little, and the file may be replaced as a whole. */
function watch(path: string, { changed, everyMs, logger, runtime }: Watching): () => void {
  let known: string | undefined
  let warned = ''
  let isStopped = false
  let timer = runtime.setTimer(everyMs, () => void look())

  async function look(): Promise<void> {
    try {
      const text = await readFile(path, 'utf8')
      if (!isStopped && text !== known) {
        const secrets = secretsIn(text)
        known = text
        changed(secrets)
      }
      warned = ''
    } catch (error) {
      const why = problemOf(error)
      if (why !== warned && !isStopped) logger.warn(`holdfast: the key file cannot be used (${why}): the secrets known before stay.`)
      warned = why
    }
    if (!isStopped) timer = runtime.setTimer(everyMs, () => void look())
  }

  return () => {
    isStopped = true
    timer.cancel()
  }
}

/** System errors name the path and its code only; ours name the line. */
export function problemOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code === 'ENOENT' ? 'it does not exist' : (code ?? message)
}
