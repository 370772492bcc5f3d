/** A small server process behind the gateway: answers its name after 5 ms. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const [name = 'a', port = '0'] = process.argv.slice(2)
const http = createServer((incoming, response) => {
  if (incoming.url === '/health') return response.end()
  incoming.resume().on('end', () => setTimeout(() => response.end(name), 5))
})
http.listen(Number(port), '127.0.0.1', () => console.log(`READY ${(http.address() as AddressInfo).port}`))
