import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FRAME_HEADER_BYTES, frameParser, MAX_FRAME_BYTES, writeFrameHeader } from '../../../src/core/frames.ts'

interface Frame {
  type: number
  body: Uint8Array
}

function encode(frames: readonly Frame[]): Buffer {
  return Buffer.concat(
    frames.map(({ type, body }) => {
      const bytes = Buffer.alloc(FRAME_HEADER_BYTES + body.length)
      writeFrameHeader(bytes, 0, type, body.length)
      bytes.set(body, FRAME_HEADER_BYTES)
      return bytes
    }),
  )
}

const frames: fc.Arbitrary<Frame[]> = fc.array(fc.record({ type: fc.nat(255), body: fc.uint8Array({ maxLength: 300 }) }), { maxLength: 20 })

describe('frames', () => {
  test('any frames in chunks of any size come out as they went in', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }), (list, sizes) => {
        const out: Frame[] = []
        const parser = frameParser(300, (type, body) => void out.push({ type, body: new Uint8Array(body) }))
        const stream = encode(list)
        for (let offset = 0, i = 0; offset < stream.length; i++) {
          const size = sizes[i % sizes.length] as number
          parser.push(stream.subarray(offset, offset + size))
          offset += size
        }
        expect(out).toEqual(list)
      }),
    )
  })

  test('a length above the limit throws before a byte of its body arrives, split or not', () => {
    const header = Buffer.alloc(FRAME_HEADER_BYTES)
    writeFrameHeader(header, 0, 1, MAX_FRAME_BYTES + 1)
    const fresh = (): ReturnType<typeof frameParser> => frameParser(MAX_FRAME_BYTES, () => expect.unreachable())
    expect(() => fresh().push(header)).toThrow(expect.objectContaining({ code: 'PEER_PROTOCOL' }))
    const split = fresh()
    split.push(header.subarray(0, 3))
    expect(() => split.push(header.subarray(3))).toThrow(expect.objectContaining({ code: 'PEER_PROTOCOL' }))
  })

  test('stopped by a frame, it hands over nothing more of the same chunk', () => {
    const out: number[] = []
    const parser = frameParser(10, (type) => {
      out.push(type)
      if (type === 2) parser.stop()
    })
    parser.push(encode([1, 2, 3].map((type) => ({ type, body: new Uint8Array(1) }))))
    parser.push(encode([{ type: 4, body: new Uint8Array(0) }]))
    expect(out).toEqual([1, 2])
  })

  test('a frame in a thousand chunks costs linear time', () => {
    let got = 0
    const parser = frameParser(MAX_FRAME_BYTES, (_type, body) => (got = body.length))
    const stream = encode([{ type: 1, body: new Uint8Array(MAX_FRAME_BYTES) }])
    const before = performance.now()
    for (let offset = 0; offset < stream.length; offset += 64) parser.push(stream.subarray(offset, offset + 64))
    expect(got).toBe(MAX_FRAME_BYTES)
    expect(performance.now() - before).toBeLessThan(1000)
  })
})
