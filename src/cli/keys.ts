/** `holdfast keys generate [FILE]`, `holdfast keys rotate FILE`: secrets, printed only where no file is named. */
import { randomBytes } from 'node:crypto'
import { open, readFile, rename, rm, stat } from 'node:fs/promises'
import { DEFAULT_ABSOLUTE_MS } from '../options.ts'
import { problemOf } from '../key-file.ts'
import { flagsOf } from './flags.ts'
import { newKeyFile, rotated } from './keys-text.ts'
import { usageError } from './usage-error.ts'

const SECRET_BYTES = 32
/** Only its owner may read it. */
const MODE = 0o600

interface Request {
  readonly action: 'generate' | 'rotate'
  readonly file: string | undefined
  readonly absoluteMs: number
  readonly force: boolean
}

/** Resolves to the exit code. */
export async function keysCommand(flags: Readonly<Record<string, unknown>>, args: readonly string[]): Promise<number> {
  const request = usageError(() => requestOf(args, flags))
  if (request.action === 'rotate') await rotate(request.file as string, request)
  else await generate(request.file)
  return 0
}

function requestOf([action, file, ...more]: readonly string[], given: Readonly<Record<string, unknown>>): Request {
  if (action !== 'generate' && action !== 'rotate') throw new Error('Say "holdfast keys generate [FILE]" or "holdfast keys rotate FILE".')
  if (more.length > 0) throw new Error(`"keys ${action}" takes one file.`)
  if (action === 'rotate' && (file === undefined || file === '')) throw new Error('Name the key file: holdfast keys rotate FILE.')
  const flags = flagsOf(given, process.env)
  const absoluteMs = Number(flags.text('absolute-ms') ?? DEFAULT_ABSOLUTE_MS)
  if (!Number.isInteger(absoluteMs) || absoluteMs < 0) throw new Error('--absolute-ms must be a whole number of milliseconds.')
  return { action, file, absoluteMs, force: flags.isOn('force') }
}

function newSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url')
}

async function generate(file: string | undefined): Promise<void> {
  if (file === undefined) {
    process.stdout.write(`${newSecret()}\n`)
    return
  }
  const text = newKeyFile(newSecret(), Date.now())
  try {
    await write(file, text, 'wx')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    throw new Error('The file exists already, and its secrets with it: name another one, or use "holdfast keys rotate FILE".', {
      cause: error,
    })
  }
  process.stderr.write('Made a key file: secrets: keyFile(…) reads it. Bring it to all servers.\n')
}

async function rotate(file: string, { absoluteMs, force }: Request): Promise<void> {
  const { next, text } = rotated(await read(file), newSecret(), { absoluteMs, force, now: Date.now() })
  const { mode } = await stat(file)
  // Servers read either the old file or the new one, never half of it.
  const beside = `${file}.${randomBytes(6).toString('hex')}.new`
  try {
    await write(beside, text, 'wx')
    await rename(beside, file)
  } catch (error) {
    await rm(beside, { force: true })
    throw error
  }
  if ((mode & 0o077) !== 0)
    process.stderr.write('Others could read the file: from now on only its owner can. Take its old secrets for known.\n')
  process.stderr.write(`${next}\n`)
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new Error(`The key file cannot be read (${problemOf(error)}): make one with "holdfast keys generate FILE".`, { cause: error })
  }
}

async function write(file: string, text: string, flags: 'wx'): Promise<void> {
  const handle = await open(file, flags, MODE)
  try {
    // Whatever the umask says.
    await handle.chmod(MODE)
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}
