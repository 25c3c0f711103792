// Asks twice on one connection with a pause between: ask HOST:PORT SECONDS IDLE INTERVAL PROBES.
package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// dial probes after so many quiet seconds, then at intervals; so many may stay unanswered.
func dial(address string, idle, interval, probes int) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable:   true,
		Idle:     time.Duration(idle) * time.Second,
		Interval: time.Duration(interval) * time.Second,
		Count:    probes,
	}}
	return dialer.Dial("tcp", address)
}

func main() {
	var number [4]int
	for i := range number {
		number[i], _ = strconv.Atoi(os.Args[i+2])
	}
	connection, err := dial(os.Args[1], number[1], number[2], number[3])
	if err != nil {
		panic(err)
	}
	reader := bufio.NewReader(connection)
	for _, pause := range []int{0, number[0]} {
		time.Sleep(time.Duration(pause) * time.Second)
		_ = connection.SetDeadline(time.Now().Add(8 * time.Second))
		fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: ledger\r\n\r\n")
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(answer.Status)
		answer.Body.Close()
	}
}
