// oxlint-disable no-underscore-dangle -- the names are node's
import { IncomingMessage, OutgoingMessage, ServerResponse } from 'node:http'
import { Http2ServerResponse } from 'node:http2'
import { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { NodeRequest } from '../../../src/adapters/node-request.ts'
import { type NodeResponse, nodeResponse, setDecidedHeader } from '../../../src/adapters/node-response.ts'

function newResponse(): NodeResponse {
  return nodeResponse(new ServerResponse(new IncomingMessage(new Socket())))
}

test("node's response has the parts that the gate stands on", () => {
  const response = newResponse()
  for (const method of ['_storeHeader', '_writeRaw', '_flush'] as const) expect(OutgoingMessage.prototype).toHaveProperty(method)
  expect(response._onPendingData).toBeTypeOf('function')
  expect(response).toMatchObject({ _header: null, _headerSent: false, _last: false, outputData: [], outputSize: 0, _keepAliveTimeout: 0 })
})

test('an answer without a socket is rendered and queued, head first', () => {
  const response = newResponse()
  response.setHeader('X-A', '1')
  response.end('body')
  expect(response._header).toMatch(/^HTTP\/1\.1 200 OK\r\nX-A: 1\r\n/)
  expect(response._headerSent).toBe(true)
  expect(response.outputData[0]?.data).toBe(`${response._header}body`)
})

test('an HTTP/2 response is refused with what to do instead', () => {
  const http2 = Object.create(Http2ServerResponse.prototype as object) as never
  expect(() => nodeResponse(http2)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining('HTTP/2') }))
})

test('setDecidedHeader changes what getHeader tells, not what is sent', () => {
  const response = newResponse()
  response.writeHead(200)
  const head = response._header
  setDecidedHeader(response, 'X-B', '2')
  expect(response.getHeader('x-b')).toBe('2')
  expect(response._header).toBe(head)
  expect(() => setDecidedHeader(response, 'X-C', 'a\nb')).toThrow(TypeError)
  expect(response._header).toBe(head)
})

test('NodeRequest - headers as node joins them, the URL before routers shorten it', () => {
  const request = Object.assign(new IncomingMessage(new Socket()), { method: 'POST', url: '/rest', originalUrl: '/api/rest' })
  request.headers = { cookie: 'a=1; b=2', 'set-cookie': ['x', 'y'] }
  const view = new NodeRequest(request)
  expect([view.method, view.url]).toEqual(['POST', '/api/rest'])
  expect([view.header('cookie'), view.header('set-cookie'), view.header('origin')]).toEqual(['a=1; b=2', 'x, y', undefined])
})
