import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cookieSettings, cookieWriter } from '../../../src/core/cookie.ts'
import { JarChanges, jarReader, TOKEN_HEADER } from '../../../src/core/jar.ts'
import { deriveKeys } from '../../../src/core/keys.ts'
import { type Roots, roots } from '../../../src/core/root.ts'
import { systemRuntime } from '../../../src/core/runtime.ts'
import type { CommitResult } from '../../../src/types.ts'

const NAME = 'session'
const runtime = systemRuntime()
const keyed = (...secrets: string[]): Roots => roots(deriveKeys(secrets, NAME), runtime)
const ours = keyed('secret one '.repeat(4))
const later = () => Date.now() + 60_000
const view = (headers: Record<string, string>) => ({ method: 'GET', url: '/', header: (name: string) => headers[name] })
const reader = (carrier: 'cookie' | 'header' | 'both' = 'cookie') => jarReader(ours, NAME, carrier)

describe('root', () => {
  test('reads what it wrote, at 55 characters', () => {
    const id = ours.make(later())
    const text = ours.write(id, 'cookie')
    expect(text).toMatch(/^[A-Za-z0-9_-]{55}$/)
    expect(ours.read(text, 'cookie')).toEqual(id)
    expect(ours.read(text, 'cookie')).toEqual(id)
  })

  test('every single changed bit is refused', () => {
    const text = ours.write(ours.make(later()), 'cookie')
    const bytes = Buffer.from(text, 'base64url')
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const spoiled = Buffer.from(bytes)
      spoiled[bit >> 3] = (spoiled[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(ours.read(spoiled.toString('base64url'), 'cookie')).toBeUndefined()
    }
  })

  test('only the canonical text is accepted', () => {
    const text = ours.write(ours.make(later()), 'cookie')
    const last = text.at(-1) as string
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const twin = text.slice(0, -1) + alphabet[alphabet.indexOf(last) ^ 1]
    expect(Buffer.from(twin, 'base64url').equals(Buffer.from(text, 'base64url'))).toBe(true)
    expect(ours.read(twin, 'cookie')).toBeUndefined()
    expect(ours.read(`${text}=`, 'cookie')).toBeUndefined()
  })

  test('is bound to its carrier, its secret, its cookie name and its end', () => {
    const id = ours.make(later())
    expect(ours.read(ours.write(id, 'cookie'), 'header')).toBeUndefined()
    expect(keyed('another secret'.repeat(4)).read(ours.write(id, 'cookie'), 'cookie')).toBeUndefined()
    expect(roots(deriveKeys(['secret one '.repeat(4)], 'other'), runtime).read(ours.write(id, 'cookie'), 'cookie')).toBeUndefined()
    expect(ours.read(ours.write(ours.make(Date.now() - 1), 'cookie'), 'cookie')).toBeUndefined()
  })

  test('rotation: the newest secret makes, all verify', () => {
    const oldSecret = 'secret one '.repeat(4)
    const rotated = keyed('secret two '.repeat(4), oldSecret)
    const old = ours.write(ours.make(later()), 'cookie')
    expect(rotated.read(old, 'cookie')).toBeDefined()
    const made = rotated.write(rotated.make(later()), 'cookie')
    expect(ours.read(made, 'cookie')).toBeUndefined()
    expect(keyed(oldSecret, 'secret two '.repeat(4)).read(made, 'cookie')).toBeDefined()
  })
})

describe('jar', () => {
  test('finds root and notes among other cookies', () => {
    const id = ours.make(later())
    const root = ours.write(id, 'cookie')
    const { jar } = reader().read(
      view({
        cookie: `a=b; session=${root};session-note-0x1=v1; sessions=no; session-id=theirs; session-route-gw=theirs; session-note-0x2-4=v2 ; other="q;"`,
      }),
    )
    expect(jar).toMatchObject({
      id: id.id,
      key: id.key,
      notes: [
        { name: 'note-0x1', value: 'v1' },
        { name: 'note-0x2-4', value: 'v2' },
      ],
    })
  })

  test('any bytes in: a jar with our own id or none, never an exception', () => {
    const id = ours.make(later())
    const root = ours.write(id, 'cookie')
    const piece = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(root, 'session=', 'session-', ';', '=', '; ', '~', '.', `session=${root}`),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), fc.constantFrom('cookie', 'header', 'both'), (pieces, carrier) => {
        const text = pieces.join('')
        const { jar } = jarReader(ours, NAME, carrier).read(view({ cookie: text, [TOKEN_HEADER]: text }))
        if (jar !== undefined) expect(jar.key).toBe(id.key)
      }),
    )
  })

  test('a header of 16 KB of cookies is read in bounded time and kept to 180 notes', () => {
    const cookie = Array.from({ length: 2000 }, (_, index) => `session-n${String(index).padStart(7, '0')}=1`).join('; ')
    expect(reader().read(view({ cookie })).notes).toHaveLength(180)
  })

  test('two carriers with different ids: neither', () => {
    const cookie = `session=${ours.write(ours.make(later()), 'cookie')}`
    const header = ours.write(ours.make(later()), 'header')
    expect(reader('both').read(view({ cookie, [TOKEN_HEADER]: header })).jar).toBeUndefined()
    expect(reader('cookie').read(view({ cookie, [TOKEN_HEADER]: header })).jar).toBeDefined()
  })

  test('changes: an answer deletes what it joined, and what was never sent is just not sent', () => {
    const id = ours.make(later())
    const presented = reader().read(view({ cookie: `session=${ours.write(id, 'cookie')}; session-old=1` }))
    const changes = new JarChanges(presented)
    changes.add({ set: [{ name: 'first', value: 'a' }], delete: ['old'] })
    changes.add({ set: [{ name: 'second', value: 'b' }], delete: ['old', 'first'] })
    const result: CommitResult = { cookies: [], headers: [] }
    changes.write(result, ours, NAME, cookieWriter(cookieSettings({ secure: false }, undefined)), undefined, 0)
    expect(result.cookies.map((cookie) => cookie.split(';')[0])).toEqual(['session-second=b', 'session-old='])
    expect(result.headers).toEqual([['cache-control', 'no-store']])
  })

  test('header carrier: the answer carries the joined whole, and reads back', () => {
    const id = ours.make(later())
    const presented = reader('header').read(view({ [TOKEN_HEADER]: `${ours.write(id, 'header')}~note-aaa.1~note-bbb.2~short.3` }))
    const changes = new JarChanges(presented)
    changes.add({ set: [{ name: 'note-ccc', value: '3' }], delete: ['note-aaa'] })
    const result: CommitResult = { cookies: [], headers: [] }
    changes.write(result, ours, NAME, cookieWriter(cookieSettings({}, undefined)), undefined, 0)
    expect(result.cookies).toEqual([])
    const token = result.headers.find(([name]) => name === TOKEN_HEADER)?.[1] as string
    const again = reader('header').read(view({ [TOKEN_HEADER]: token }))
    expect(again.jar?.key).toBe(id.key)
    expect(again.notes).toEqual([
      { name: 'note-bbb', value: '2' },
      { name: 'note-ccc', value: '3' },
    ])
  })
})
