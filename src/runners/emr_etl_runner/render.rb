# Renders a config's ERB as EmrEtlRunner 1.0.4 does in `lib/snowplow-emr-etl-runner/cli.rb`: in the same method of the same module, with the standard libraries that
# the runner and its gems have loaded by then. Whatever of them is missing would be a NameError on a config that the runner accepts.
#
# Arguments: what `config_file` is, what `$0` is, how many bytes are kept of what the config prints on each stream. The config is read from standard input.
#
# Answer, on standard output: the rendered config, what it printed on standard output and on standard error, a zero byte, and then `rendered` with the lengths of
# these three, or `raised`, the exception's class, the line in the config (or 0), and the variable that `ENV.fetch` did not find (or `-`). A config that ends Ruby
# half-way cannot pass for one that was rendered: then this last line is missing.

%w[
  base64 bigdecimal cgi date delegate digest digest/md5 digest/sha1 erb fileutils forwardable ipaddr json logger monitor net/http net/https open-uri openssl optparse
  ostruct pathname pp securerandom set singleton socket stringio tempfile time timeout tmpdir uri yaml zlib
].each do |library|
  begin
    require library
  rescue LoadError
    # A Ruby without it is no runner's; a config that needs it says so itself.
    nil
  end
end

module Snowplow
  module EmrEtlRunner
    NAME = 'snowplow-emr-etl-runner'
    VERSION = '1.0.4'

    module Cli
      COLLECTOR_FORMAT_REGEX = %r{^(?:cloudfront|clj-tomcat|thrift|(?:json/.+/.+)|(?:tsv/.+/.+)|(?:ndjson/.+/.+))$}
      RESUMABLES = Set.new(%w[enrich shred elasticsearch archive_raw rdb_load analyze archive_enriched archive_shredded staging_stream_enrich])
      SKIPPABLES = Set.new(%w[staging enrich shred elasticsearch archive_raw rdb_load consistency_check analyze load_manifest_check archive_enriched archive_shredded
                              staging_stream_enrich])
      INCLUDES = Set.new(%w[vacuum])

      # The names of its locals are those that a config sees.
      def self.load_config(config_file, summary, is_required=true)
        config = $stdin.readlines.join
        erb_config = ERB.new(config).result(binding)
        erb_config
      end
    end
  end
end

# What a stream gets from here on, up to a number of bytes.
class EmrEtlGuardCapture
  def initialize(stream, limit)
    @stream = stream
    @printed = String.new
    reading, writing = IO.pipe
    stream.reopen(writing)
    stream.sync = true
    writing.close
    @thread = Thread.new do
      begin
        loop do
          more = reading.readpartial(65_536)
          @printed << more.b if @printed.bytesize < limit
        end
      rescue EOFError
        nil
      end
    end
    @limit = limit
  end

  # Ends it; a program that the config has left running may hold the stream for ever.
  def printed
    @stream.flush
    @stream.reopen(File::NULL)
    @thread.join(2)
    @printed.byteslice(0, @limit)
  end
end

emr_etl_guard = lambda do |config_file, name, limit|
  answer = $stdout.dup
  answer.binmode
  captures = [STDOUT, STDERR].map { |stream| EmrEtlGuardCapture.new(stream, Integer(limit)) }
  $0 = name
  begin
    rendered = Snowplow::EmrEtlRunner::Cli.load_config(config_file, '', true)
    # Psych reads text of any encoding; what the guard reads is UTF-8.
    as_is = [Encoding::UTF_8, Encoding::US_ASCII, Encoding::ASCII_8BIT].include?(rendered.encoding)
    parts = [as_is ? rendered.b : rendered.encode(Encoding::UTF_8).b, *captures.map(&:printed)]
    answer.write(*parts, "\0rendered ", parts.map(&:bytesize).join(' '))
  rescue Exception => error # rubocop:disable Lint/RescueException
    lines = [*error.backtrace, error.message].map { |line| line[/\(erb\):(\d+)/, 1] }
    variable = error.is_a?(KeyError) && error.receiver.equal?(ENV) ? error.key.to_s : ''
    variable = '-' unless variable =~ /\A[A-Za-z0-9_]+\z/
    answer.write("\0raised ", error.class.name.to_s.delete(' '), ' ', lines.compact.first || 0, ' ', variable)
  end
  answer.flush
end
emr_etl_guard.call(*ARGV.shift(3))
