import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { deriveKeys } from '../../../src/core/keys.ts'
import { newNoteName, peekNote, verifyNote, writeNote } from '../../../src/core/note.ts'
import { createVirtualRuntime } from '../../setup/virtual-runtime.ts'

const oldSecret = 'an old secret of at least 32 bytes, really'
const newSecret = 'a new secret of at least 32 bytes, really.'
const keys = deriveKeys([newSecret, oldSecret], 'session')
const root = 'AAAAAAAAAAAAAAAAAAAAAA'
const name = 'abcd-_12'

describe('signed notes', () => {
  test('a note verifies for its session and name, and its payload reads back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (payload) => {
        const note = writeNote(keys, root, name, payload)
        expect(verifyNote(keys, root, note)).toBe('valid')
        expect(peekNote(note)).toEqual(Buffer.from(payload))
        expect(note.value).toMatch(/^[\w-]+$/)
      }),
    )
  })

  test('another session, another name, or any changed character is forged', () => {
    const note = writeNote(keys, root, name, Buffer.from('payload'))
    expect(verifyNote(keys, 'BAAAAAAAAAAAAAAAAAAAAA', note)).toBe('forged')
    expect(verifyNote(keys, root, { name: 'abcd-_13', value: note.value })).toBe('forged')
    for (let at = 0; at < note.value.length; at++) {
      const value = `${note.value.slice(0, at)}${note.value[at] === 'A' ? 'B' : 'A'}${note.value.slice(at + 1)}`
      expect(verifyNote(keys, root, { name, value })).not.toBe('valid')
    }
  })

  test('only the canonical spelling is a note', () => {
    const note = writeNote(keys, root, name, Buffer.from('123'))
    for (const value of [`${note.value}=`, `${note.value} `, note.value.replace(/.$/, (last) => nextLetter(last)), '']) {
      expect(peekNote({ name, value })).toBeUndefined()
      expect(verifyNote(keys, root, { name, value })).not.toBe('valid')
    }
  })

  test('an old key still verifies, an unknown key or version is told apart from a forgery', () => {
    const old = writeNote(deriveKeys([oldSecret], 'session'), root, name, Buffer.from('x'))
    expect(verifyNote(keys, root, old)).toBe('valid')
    const foreign = writeNote(deriveKeys(['quite another secret of 32 bytes or more'], 'session'), root, name, Buffer.from('x'))
    expect(verifyNote(keys, root, foreign)).toBe('unknown')
    expect(verifyNote(keys, root, { name, value: `Ag${old.value.slice(2)}` })).toBe('unknown')
  })

  test('names are 8 base64url characters and fresh', () => {
    const runtime = createVirtualRuntime()
    const made = new Set(Array.from({ length: 1000 }, () => newNoteName(runtime)))
    expect(made.size).toBe(1000)
    for (const one of made) expect(one).toMatch(/^[\w-]{8}$/)
  })
})

/** Same bytes in a lenient decoder: a letter that differs in unused bits only. */
function nextLetter(letter: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return alphabet[alphabet.indexOf(letter) + 1] ?? 'B'
}
