import { SessionError } from '../errors.ts'
import { unavailable } from './availability.ts'

/** Primary result codes of SQLite (https://sqlite.org/rescode.html). */
const PERM = 3
const BUSY = 5
const LOCKED = 6
const READONLY = 8
const IOERR = 10
const CORRUPT = 11
const FULL = 13
const CANTOPEN = 14
const NOTADB = 26

const ADVICE: Readonly<Record<number, string>> = {
  [PERM]: 'this user may not use it: give it read and write access',
  [BUSY]: 'another process kept it locked beyond the deadline: look for a long transaction or a backup on it',
  [LOCKED]: 'it stayed locked beyond the deadline: look for a long transaction on it',
  [READONLY]: 'it cannot be written: give this user write access to the file and its folder',
  [IOERR]: 'the disk failed: check it, and keep the file on a local disk',
  [CORRUPT]: 'it is damaged: restore it from a backup, or move it away and start with none',
  [FULL]: 'the disk is full: make room',
  [CANTOPEN]: 'it cannot be opened: check that its folder exists and may be written',
  [NOTADB]: 'it is not an SQLite database: name another file',
}

const FILE_ADVICE: Readonly<Record<string, string>> = {
  ENOENT: 'its folder does not exist: create the folder first',
  ENOTDIR: 'its folder does not exist: create the folder first',
  EACCES: 'this user may not write there: give it access to the folder',
  EPERM: 'this user may not write there: give it access to the folder',
  EROFS: 'its disk is read-only: name a file on another one',
  ENOSPC: 'the disk is full: make room',
}

/** Another process has the lock just now: worth a retry. */
export function isBusy(error: unknown): boolean {
  const code = primaryCode(error)
  return code === BUSY || code === LOCKED
}

export function sqliteError(file: string, error: unknown): SessionError {
  if (SessionError.is(error)) return error
  const code = primaryCode(error)
  const fileCode = (error as { code?: unknown } | undefined)?.code
  const advice = (code === undefined ? undefined : ADVICE[code]) ?? (typeof fileCode === 'string' ? FILE_ADVICE[fileCode] : undefined)
  const name = code !== undefined ? `SQLite error ${code}` : typeof fileCode === 'string' ? fileCode : 'unexpected error'
  return unavailable(`sqliteStore cannot use ${file}: ${advice ?? `${name}: check the file and its disk`}`)
}

function primaryCode(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | undefined)?.errcode
  return typeof code === 'number' ? code & 255 : undefined
}
